"""The commands of `flowkit-runtime`; `score` on files is in test_runtime_scoring.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from flowkit.cli.main import app as flowkit_app
from flowkit_runtime import load
from flowkit_runtime.cli import progress
from flowkit_runtime.cli.main import app
from flowkit_runtime.streaming import sources
from tests.security import bundles
from tests.security.bundles import alter_decoded

COMMANDS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


def test_the_commands_are_those_promised() -> None:
    assert set(COMMANDS) == {"score", "sample", "encode", "decode", "interpolate", "verify", "info", "serve"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(command: str) -> None:
    assert f"Example: flowkit-runtime {command} " in " ".join(run(command, "--help").stdout.split())


@pytest.mark.parametrize("command", ["score", "verify"])
def test_flowkit_has_the_same_under_its_own_name(command: str) -> None:
    text = " ".join(CliRunner().invoke(flowkit_app, [command, "--help"]).stdout.split())
    assert f"Example: flowkit {command} " in text and "flowkit-runtime" not in text


@pytest.mark.parametrize("program", [app, flowkit_app])
def test_the_help_of_score_says_what_its_test_misses(program) -> None:
    text = " ".join(CliRunner().invoke(program, ["score", "--help"]).stdout.split())
    assert "This test has one side: an event that is unusually likely is never flagged." in text
    assert "Likelihood prefers simple inputs" in text


@pytest.mark.parametrize("command", ["score", "encode", "sample", "decode", "interpolate"])
def test_the_help_of_a_context_offers_a_table_where_one_is_read(command: str) -> None:
    """If events come from a table, their contexts are columns of it."""
    text = " ".join(run(command, "--help").stdout.replace("│", " ").split())
    files = "a class or .npy." if command in ("score", "encode") else "a class, .npy, or a table."
    assert f"The context, for all rows or for each: {files}" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_no_bundle_is_a_message(command: str, tmp_path: Path) -> None:
    rest = {
        "score": ["x.npy"],
        "sample": ["-o", "s.npy"],
        "encode": ["x.npy", "-o", "z.npz"],
        "decode": ["z.npz", "-o", "x.npy"],
        "interpolate": ["x.npy", 0, 1, "-o", "s.npy"],
    }
    message = run(command, tmp_path / "nowhere", *rest.get(command, []), code=2).stderr
    assert message.startswith(f"{tmp_path / 'nowhere'} is not a directory; a bundle is")


def test_help_imports_nothing_heavy_and_scoring_an_array_nothing_of_the_extras(make_bundle, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 2, 2), np.uint8))
    program = (
        "import sys; from flowkit_runtime.cli.main import app\n"
        "for arguments in (['--help'], sys.argv[1:]):\n"
        "    try: app(['score', *arguments])\n"
        "    except SystemExit as end: assert not end.code\n"
        "    heavy = {'pyarrow', 'PIL', 'pandas', 'ray', 'torch', 'flowkit', 'onnx', 'numpy', 'onnxruntime'}\n"
        "    heavy |= {'fastapi', 'uvicorn', 'prometheus_client'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, make_bundle(), tmp_path / "x.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.splitlines() == ["[]", "['numpy', 'onnxruntime']"]


def test_info_says_what_a_bundle_is(make_bundle) -> None:
    threshold = {"quantile": 0.99, "score": 2.31, "events": 360}
    bundle = make_bundle(
        context={"classes": 10},
        threshold=threshold,
        precision="float16",
        verification=[{"rows": "held-out", "quantity": "latents", "error": 1.5e-6}],
    )
    lines = [" ".join(line.split()) for line in run("info", bundle).stdout.splitlines()]
    for line in (
        "event 1×2×2, whole numbers 0 … 16",
        "context a class from 0 to 9",
        "latents 1×1×2 + 1×1×2: 4 values, base base/standard_normal",
        "precision float16",
        "score bits/dim",
        "threshold 2.3100: 99% of 360 held-out events stay below",
        "verified latents within 1.50e-06 of fp64 on held-out data",
    ):
        assert line in lines


SHARES = [0.2, 0.3, 0.5]
CLASSES = {
    "0 red 20%, 1 green 30%, 2 blue 50%": {"names": ["red", "green", "blue"], "probabilities": SHARES},
    "0 red, 1 green, 2 blue": {"names": ["red", "green", "blue"]},
    "0 20%, 1 30%, 2 50%": {"probabilities": SHARES},
}


@pytest.mark.parametrize("line", CLASSES)
def test_info_numbers_the_classes(make_bundle, line: str) -> None:
    bundle = make_bundle(levels=None, context={"classes": 3, **CLASSES[line]})
    assert f"classes     {line}" in run("info", bundle).stdout.splitlines()


def test_info_of_a_plain_bundle(make_bundle) -> None:
    lines = [" ".join(line.split()) for line in run("info", make_bundle(levels=None)).stdout.splitlines()]
    assert {"event 1×2×2, real numbers", "context none", "score nats", "threshold none"} <= set(lines)


def test_info_checks_the_files(make_bundle) -> None:
    bundle = make_bundle()
    (bundle / "encode.onnx").write_bytes(b"x")
    assert "encode.onnx does not match its SHA-256" in run("info", bundle, code=2).stderr


def test_verify_refuses_a_damaged_bundle(make_bundle) -> None:
    bundle = make_bundle()
    (bundle / "encode.onnx").write_bytes(b"x")
    assert "encode.onnx does not match its SHA-256" in run("verify", bundle, code=2).stderr


def test_sample_writes_what_the_model_draws(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(), tmp_path_factory.mktemp("place")
    run("sample", bundle, "-n", 5, "--seed", 3, "--temperature", 0.5, "-o", place / "s.npy")
    assert np.array_equal(np.load(place / "s.npy"), load(bundle).sample(5, seed=3, temperature=0.5))


@pytest.mark.parametrize(("context", "rows"), [({"classes": 3}, [2, 0]), ({"shape": [2]}, [[1, 2], [3, 4], [5, 6]])])
def test_sample_draws_n_for_each_row_of_a_file(make_bundle, tmp_path_factory, context, rows) -> None:
    bundle, place = make_bundle(levels=None, context=context), tmp_path_factory.mktemp("place")
    for given in (rows, rows[:1]):
        np.save(place / "c.npy", np.array(given, int if "classes" in context else "float32"))
        said = run("sample", bundle, "-n", 4, "--context", place / "c.npy", "-o", place / "s.npy").stdout
        assert said == f"{4 * len(given)} samples: {place / 's.npy'}\n"
        expected = load(bundle).sample(4 * len(given), np.repeat(given, 4, axis=0), seed=0)
        np.testing.assert_allclose(np.load(place / "s.npy"), expected, rtol=1e-6)


def test_sample_draws_images(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=256), tmp_path_factory.mktemp("place")
    run("sample", bundle, "-n", 3, "-o", place / "s.png")
    grid, events = np.asarray(Image.open(place / "s.png")), load(bundle).sample(3, seed=0)
    assert grid.shape == (5, 5)
    assert np.array_equal(grid[:2, :2], events[0, 0]) and np.array_equal(grid[3:, :2], events[2, 0])
    assert (grid[2] == 255).all() and (grid[3:, 3:] == 255).all()


def test_real_numbers_are_no_picture(make_bundle, tmp_path_factory) -> None:
    place = tmp_path_factory.mktemp("place")
    assert "are no images" in run("sample", make_bundle(levels=None), "-o", place / "s.png", code=2).stderr
    assert "must end with .npy, .csv, .parquet or .png" in run("sample", place, "-o", place / "s.gif", code=2).stderr
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "this flow needs a context, a class from 0 to 2: --context CLASS\n"),
        (("--context", "x"), "the context 'x' is no class of this flow: its classes are 0, 1, 2\n"),
        (("--context", "3"), "the context '3' is no class of this flow: its classes are 0, 1, 2\n"),
        (("--context", "1" * 24), f"the context '{'1' * 24}' is no class of this flow: its classes are 0, 1, 2\n"),
        (("--context", "1" * 5000), f"the context '{'1' * 499} … is no class of this flow: its classes are 0, 1, 2\n"),
        (("--context", "nowhere.npy"), "nowhere.npy can't be read as .npy: No such file or directory\n"),
    ],
)
def test_contexts_that_are_none(make_bundle, tmp_path_factory, given, message) -> None:
    place = tmp_path_factory.mktemp("place")
    bundle = make_bundle(levels=None, context={"classes": 3})
    assert message in run("sample", bundle, "-o", place / "s.npy", *given, code=2).stderr


def test_a_class_is_no_context_of_floats(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=None, context={"shape": [2]}), tmp_path_factory.mktemp("place")
    message = run("sample", bundle, "-o", place / "s.npy", "--context", 1, code=2).stderr
    np.save(place / "x.npy", np.zeros((3, 1, 2, 2), np.float32))
    for command, *data in (("sample", "-o", place / "s.npy"), ("score", place / "x.npy")):
        asked = run(command, bundle, *data, code=2).stderr
        assert asked == "this flow needs a context, floats [2]: --context FILE.npy\n"
    assert message == "the context '1' is no .npy file; this flow's is floats [2], one for all rows or one for each\n"


def test_encode_and_decode_give_the_events_back(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(context={"classes": 3}), tmp_path_factory.mktemp("place")
    x = np.random.default_rng(0).integers(0, 17, (300, 1, 2, 2), np.uint8)
    np.save(place / "x.npy", x)
    np.save(place / "c.npy", classes := np.arange(300) % 3)
    run("encode", bundle, place / "x.npy", "-o", place / "z.npz", "--context", place / "c.npy")
    with np.load(place / "z.npz") as latents:
        for mine, its in zip(latents.values(), load(bundle).encode(x, classes), strict=True):
            assert np.array_equal(mine, its)
    run("decode", bundle, place / "z.npz", "-o", place / "y.npy", "--context", place / "c.npy")
    assert np.array_equal(np.load(place / "y.npy"), x)


def test_encode_checks_that_integers_come_back(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=17), tmp_path_factory.mktemp("place")
    x = np.zeros((6000, 1, 2, 2), np.uint8)
    np.save(place / "x.npy", x)
    arguments = "encode", bundle, place / "x.npy", "-o", place / "z.npz", "--check"
    said = run(*arguments).stdout
    assert "all 6000 events come back exactly when they are decoded; the largest error is 0 levels" in said
    alter_decoded(bundle, "Min", 10.5)
    x[[7, 5000], 0, 1, 1] = 12, 16
    np.save(place / "x.npy", x)
    said = run(*arguments, code=1).stdout
    assert said.endswith(
        "2 of 6000 events don't come back exactly; the largest error is 6 levels. Rows, counted from 0: 7, 5000\n"
    )
    assert len(np.load(place / "z.npz")["z_1"]) == 6000  # written all the same
    np.save(place / "x.npy", x + 11)
    assert run(*arguments, code=2).exit_code == 2  # not even an event
    np.save(place / "x.npy", np.full_like(x, 16))
    said = run(*arguments, code=1).stdout
    assert "Rows, counted from 0: 0, 1, 2, 3, " in said and said.endswith(", 19 and 5,980 more\n")


def test_encode_checks_that_real_numbers_come_back(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=None), tmp_path_factory.mktemp("place")
    x = np.random.default_rng(0).normal(size=(50, 1, 2, 2)).astype(np.float32) * 100
    np.save(place / "x.npy", x)
    arguments = "encode", bundle, place / "x.npy", "-o", place / "z.npz", "--check"
    assert "all 50 events come back when they are decoded" in run(*arguments).stdout
    alter_decoded(bundle, "Min", float(np.sort(x.max(axis=(1, 2, 3)))[-2]) + 1)
    said = run(*arguments, code=1).stdout
    assert "1 of 50 events don't come back; the largest error is" in said
    assert said.endswith(f"Rows, counted from 0: {x.max(axis=(1, 2, 3)).argmax()}\n")


def test_encode_names_the_row(make_bundle, tmp_path_factory) -> None:
    place, x = tmp_path_factory.mktemp("place"), np.zeros((6000, 1, 2, 2))
    x[5000, 0, 0, 1] = np.inf
    np.save(place / "x.npy", x)
    message = run("encode", make_bundle(levels=None), place / "x.npy", "-o", place / "z.npz", code=2).stderr
    assert "x.npy: x must be finite in float32; in row 5000, x[5000, 0, 0, 1] is inf" in message
    assert "must end with .npz" in run("encode", place, place / "x.npy", "-o", place / "z.npy", code=2).stderr


def test_of_no_events_there_are_latents_and_no_picture(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=256), tmp_path_factory.mktemp("none")
    np.save(place / "x.npy", np.zeros((0, 1, 2, 2), np.uint8))
    run("encode", bundle, place / "x.npy", "-o", place / "z.npz")
    run("decode", bundle, place / "z.npz", "-o", place / "y.npy")
    assert np.load(place / "y.npy").shape == (0, 1, 2, 2)
    message = run("decode", bundle, place / "z.npz", "-o", place / "y.png", code=2).stderr
    assert "y.png: there are no events to draw" in message


def test_more_than_there_is_memory_for_is_a_message(make_bundle, tmp_path) -> None:
    message = run("sample", make_bundle(), "-n", 10**12, "-o", tmp_path / "x.npy", code=2).stderr
    assert message.startswith("out of memory: Unable to allocate") and message.count("\n") == 1


@pytest.fixture
def inputs(make_bundle, tmp_path_factory, monkeypatch) -> Path:
    """A directory with a bundle, data, its latents, a context of each row, and an image."""
    place = tmp_path_factory.mktemp("inputs")
    monkeypatch.chdir(place)
    make_bundle(levels=256, context={"classes": 3}).rename(place / "bundle")
    np.save("x.npy", np.zeros((3, 1, 2, 2), np.uint8))
    np.save("c.npy", np.zeros(3, np.int64))
    np.savez("z.npz", z_1=np.zeros((3, 1, 1, 2)), z_2=np.zeros((3, 1, 1, 2)))
    Path("images").mkdir()
    for name in "ab":
        Image.new("L", (2, 2)).save(f"images/{name}.png")
    Path("link.npy").symlink_to("c.npy")
    Path("z.npy").symlink_to("z.npz")
    Path("reference.npy").symlink_to("bundle/reference.npz")
    return place


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("interpolate bundle x.npy 0 1 --context 0 -o x.npy", "x.npy is the data itself"),
        ("interpolate bundle x.npy 0 1 -n 3 --context c.npy -o link.npy", "link.npy is the context itself"),
        ("interpolate bundle images 0 1 --context 0 -o images/b.png", "images/b.png is the data itself"),
        ("sample bundle -n 3 --context c.npy -o images/../c.npy", "images/../c.npy is the context itself"),
        ("sample bundle -n 3 --context 0 -o reference.npy", "reference.npy is a file of the bundle"),
        ("encode bundle x.npy --context 0 -o bundle/reference.npz", "bundle/reference.npz is a file of the bundle"),
        ("decode bundle z.npz --context 0 -o z.npy", "z.npy is the input itself"),
        ("decode bundle z.npz --context c.npy -o c.npy", "c.npy is the context itself"),
    ],
)
def test_an_output_is_never_put_in_place_of_what_is_read(inputs, command, message) -> None:
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    assert run(*command.split(), code=2).stderr == f"{message}: name another output\n"
    assert {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()} == before


def test_an_output_may_lie_beside_what_is_read(inputs) -> None:
    for _ in range(2):
        run("score", "bundle", "images", "--context", 0, "-o", "images/s.csv")
        run("encode", "bundle", "x.npy", "--context", 0, "-o", "bundle/z.npz")


def test_csv_is_written_without_pyarrow(tmp_path, monkeypatch) -> None:
    """Numbers are as short as float32 allows."""
    bundle = bundles.write_bundle(tmp_path / "bundle")
    for name in ("pyarrow", "pyarrow.csv"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("x.npy", "x.csv"):
        run("sample", bundle, "-n", 3, "-o", tmp_path / name)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    x = np.load(tmp_path / "x.npy")
    assert lines == ["f0,f1", *(f"{row[0]!s},{row[1]!s}" for row in x)] and max(map(len, lines)) < 28
    run("score", bundle, tmp_path / "x.npy", "-o", tmp_path / "s.csv")
    assert np.array_equal(np.loadtxt(tmp_path / "s.csv", skiprows=1), load(bundle).score(x))


@pytest.mark.parametrize("name", ["x.parquet", "x"])
def test_a_folder_of_tables_is_called_so(make_bundle, tmp_path_factory, name) -> None:
    bundle, folder = make_bundle(), tmp_path_factory.mktemp("place") / name
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), folder / "part-0.parquet")
    message = run("score", bundle, folder, code=2).stderr
    assert message == f"{folder} is a folder of tables: give one of its files at a time, or join them\n"


def test_a_column_of_another_type_names_the_file(tmp_path) -> None:
    bundle = bundles.write_bundle(tmp_path / "bundle")
    columns = {"event": [{"column": "day", "kind": "time"}, {"column": "area"}], "context": [], "missing": "drop"}
    bundles.edit_manifest(bundle, lambda manifest: manifest.update(preprocessing=columns))
    pyarrow.parquet.write_table(pyarrow.table({"day": [1], "area": [2.0]}), tmp_path / "x.parquet")
    message = run("score", bundle, tmp_path / "x.parquet", code=2).stderr
    assert message == f"{tmp_path / 'x.parquet'}: column 'day' holds int64, not times\n"


def test_numbers_that_are_too_large_are_messages(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(levels=None), tmp_path_factory.mktemp("place")
    np.save(place / "x.npy", np.zeros((2, 1, 2, 2)))
    for command in (["sample", bundle], ["interpolate", bundle, place / "x.npy", 0, 1]):
        assert (
            "n is 99999999999999999999, more events than one array can hold"
            in run(*command, "-n", "9" * 20, "-o", place / "s.npy", code=2).stderr
        )
    message = run("sample", bundle, "--temperature", "5e37", "-o", place / "s.npy", code=2).stderr
    assert "its latents are too large" in message
    assert [path.name for path in place.iterdir()] == ["x.npy"]


def test_ends_that_are_no_events_are_named_by_file_and_row(make_bundle, tmp_path_factory) -> None:
    place, x = tmp_path_factory.mktemp("place"), np.zeros((9, 1, 2, 2))
    x[7, 0, 1, 0] = np.nan
    np.save(place / "x.npy", x)
    arguments = make_bundle(levels=None), place / "x.npy", 5, 7, "-o", place / "s.npy"
    row = "x must be finite in float32; in row 7, x[7, 0, 1, 0] is nan (rows count from 0)"
    assert run("interpolate", *arguments, code=2).stderr == f"{place / 'x.npy'}: {row}\n"


def test_progress_is_shown_of_what_may_take_long(inputs, monkeypatch) -> None:
    seen: dict[str, list[int]] = {}

    @contextmanager
    def recording(what: str, total: int) -> Iterator[Callable[[int], None]]:
        yield seen.setdefault(f"{what} {total}", []).append

    for module in ("cli.progress", "cli.events"):
        monkeypatch.setattr(f"flowkit_runtime.{module}.counting", recording)
    monkeypatch.setattr(sources, "MOST_AT_ONCE", 256)
    np.save("x.npy", np.zeros((600, 1, 2, 2), np.uint8))
    run("score", "bundle", "x.npy", "--context", 0)
    run("encode", "bundle", "x.npy", "--context", 0, "-o", "z.npz")
    run("decode", "bundle", "z.npz", "--context", 0, "-o", "y.npy")
    run("sample", "bundle", "-n", 600, "--context", 0, "-o", "y.npy")
    assert seen.pop("scoring 600") == [0, 256, 512, 600]
    assert seen == {f"{what} 600": [256, 512, 600] for what in ("encoding", "decoding", "sampling")}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_the_step_of_a_work_and_a_pipe_nothing(is_terminal: bool, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress.steps("exporting") as begin:
        begin("tracing the layers")
    assert ("exporting: tracing the layers" in capsys.readouterr().err) == is_terminal


def test_latents_that_are_too_large_are_named_by_file_and_row(make_bundle, tmp_path_factory) -> None:
    place, z = tmp_path_factory.mktemp("place"), np.zeros((3, 1, 1, 2))
    bundle = make_bundle(levels=None)
    for value, message in ((3e38, "row 2 decodes to inf: its latents are too large"), (1e39, "in row 2, z_2[2, 0")):
        np.savez(place / "z.npz", z_1=z, z_2=z + value * np.array([0, 0, 1]).reshape(3, 1, 1, 1))
        said = run("decode", bundle, place / "z.npz", "-o", place / "x.npy", code=2).stderr
        assert said.startswith(f"{place / 'z.npz'}: ") and message in said
    assert [path.name for path in place.iterdir()] == ["z.npz"]


def test_a_class_that_is_none_is_not_of_the_latents(inputs) -> None:
    message = run("decode", "bundle", "z.npz", "--context", 7, "-o", "y.npy", code=2).stderr
    assert message == "the context '7' is no class of this flow: its classes are 0, 1, 2\n"


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_whole_numbers_of_a_table_are_integers(make_bundle, tmp_path_factory, name) -> None:
    """Also if they are read as floats, as in CSV, or in Parquet if one column holds floats."""
    bundle, place = make_bundle(), tmp_path_factory.mktemp("place")
    x = np.random.default_rng(0).integers(0, 17, (6, 1, 2, 2))
    columns = dict(zip("abcd", x.reshape(6, 4).T, strict=True)) | {"a": x[:, 0, 0, 0] * 1.0}
    table = pyarrow.table(columns)
    pyarrow.csv.write_csv(table, place / name) if name == "x.csv" else pyarrow.parquet.write_table(table, place / name)
    run("encode", bundle, place / name, "-o", place / "z.npz", "--check")
    assert all(map(np.array_equal, np.load(place / "z.npz").values(), load(bundle).encode(x)))
    run("interpolate", bundle, place / name, 4, 1, "-o", place / "s.npy")
    assert np.array_equal(np.load(place / "s.npy"), load(bundle).interpolate(x[4], x[1], 9))
    (place / "y.csv").write_text("a,b,c,d\n1,2,3,4\n1,2.5,3,4\n")
    message = run("encode", bundle, place / "y.csv", "-o", place / "z.npz", code=2).stderr
    assert "y.csv: x must hold whole numbers from 0 to 16; in row 1, x[1, 0, 0, 1] is 2.5" in message


def test_latents_of_another_flow_are_refused(make_bundle, tmp_path_factory) -> None:
    place = tmp_path_factory.mktemp("place")
    np.savez(place / "z.npz", z_1=np.zeros((3, 1, 1, 2)))
    message = run("decode", make_bundle(), place / "z.npz", "-o", place / "x.npy", code=2).stderr
    assert "z.npz can't be read: it is not an .npz file of z_1, z_2" in message


def test_interpolate_goes_from_row_to_row(make_bundle, tmp_path_factory) -> None:
    bundle, place = make_bundle(), tmp_path_factory.mktemp("place")
    x = np.random.default_rng(0).integers(0, 17, (6, 1, 2, 2), np.uint8)
    np.save(place / "x.npy", x)
    run("interpolate", bundle, place / "x.npy", 4, 1, "-n", 5, "-o", place / "s.npy")
    steps = np.load(place / "s.npy")
    assert np.array_equal(steps, load(bundle).interpolate(x[4], x[1], 5))
    assert np.array_equal(steps[[0, -1]], x[[4, 1]])
    message = run("interpolate", bundle, place / "x.npy", 4, 6, "-o", place / "s.npy", code=2).stderr
    assert "x.npy has no row 6 (rows count from 0)" in message
