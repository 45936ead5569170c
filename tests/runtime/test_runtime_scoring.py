"""`score` on files: tables, arrays and images give the same scores, killed runs go on, errors name file and row."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from flowkit_runtime import InputError, Model, load
from flowkit_runtime.bundle import Context
from flowkit_runtime.cli.main import app
from flowkit_runtime.streaming import sources, tables
from flowkit_runtime.streaming.opening import open_source
from flowkit_runtime.streaming.part import Part, opened, part_path
from flowkit_runtime.streaming.summary import summarize
from tests.security.bundles import edit_manifest
from tests.security.files import fifo, loop

BATCH = 64
ROWS = 5 * BATCH + 7
THRESHOLD = {"quantile": 0.9, "score": 10.0, "events": 300}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "MOST_AT_ONCE", BATCH)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for what is scored; the bundle has its own."""
    return tmp_path_factory.mktemp("place")


def score(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["score", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def points(n: int = ROWS) -> np.ndarray:
    return (8 + 4 * np.random.default_rng(0).normal(size=(n, 1, 2, 2))).astype(np.float32)


def table(x: np.ndarray, **more: Any) -> pa.Table:
    columns = {name: x.reshape(len(x), 4)[:, i] for i, name in enumerate("abcd")}
    return pa.table({**columns, **more})


def write(path: Path, rows: pa.Table) -> Path:
    if path.suffix == ".csv":
        pa.csv.write_csv(rows, path)
    else:
        pa.parquet.write_table(rows, path, row_group_size=100)
    return path


def save(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


# Data of all kinds


@pytest.mark.parametrize(("kind", "output"), [("npy", "csv"), ("csv", "parquet"), ("parquet", "npy")])
def test_all_kinds_of_files_give_the_scores_of_the_model(make_bundle, place, kind, output):
    bundle = make_bundle(levels=None, threshold=THRESHOLD)
    data = save(place / "x.npy", points()) if kind == "npy" else write(place / f"x.{kind}", table(points()))
    result = score(bundle, data, "-o", place / f"s.{output}")
    expected = load(bundle).score(points(), batch_size=BATCH)
    scores, anomalous = read(place / f"s.{output}")
    assert np.array_equal(scores, expected)
    assert anomalous is None or np.array_equal(anomalous, expected > 10)
    assert f"{(expected > 10).sum()} of {ROWS} above the threshold 10.0000" in result.stdout
    assert f"mean {expected.mean():.4f} nats, median {np.sort(expected)[ROWS // 2]:.4f}" in result.stdout
    assert sorted(path.name for path in place.iterdir()) == sorted([data.name, f"s.{output}"])


def read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix == ".npy":
        return np.load(path), None
    rows = (pa.csv.read_csv if path.suffix == ".csv" else pa.parquet.read_table)(path)
    assert rows.column_names == ["score", "anomalous"]
    return rows["score"].to_numpy(), rows["anomalous"].to_numpy().astype(bool)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_are_chosen_and_ordered(make_bundle, place, kind):
    bundle = make_bundle(levels=None, context={"classes": 3})
    classes = np.arange(ROWS) % 3
    rows = table(points(), name=["x"] * ROWS, kind=classes).select(["kind", "d", "name", "c", "b", "a"])
    score(
        *(bundle, write(place / f"x.{kind}", rows), "-o", place / "s.npy"),
        *("--columns", "a,b,c,d", "--context-columns", "kind"),
    )
    assert np.array_equal(np.load(place / "s.npy"), load(bundle).score(points(), classes, batch_size=BATCH))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_of_a_context_of_numbers(make_bundle, place, kind):
    bundle, context = make_bundle(levels=None, context={"shape": [2]}), np.random.default_rng(1).normal(size=(ROWS, 2))
    rows = table(points(), u=context[:, 0], v=context[:, 1])
    score(bundle, write(place / f"x.{kind}", rows), "-o", place / "s.npy", "--context-columns", "u,v")
    assert np.array_equal(np.load(place / "s.npy"), load(bundle).score(points(), context, batch_size=BATCH))


@pytest.mark.parametrize("given", ["one each", "one for all", "a class"])
def test_contexts_of_arrays(make_bundle, place, given):
    bundle, classes = make_bundle(levels=None, context={"classes": 3}), np.arange(ROWS) % 3
    context = {"one each": save(place / "c.npy", classes), "one for all": save(place / "d.npy", 2), "a class": 2}[given]
    score(bundle, save(place / "x.npy", points()), "-o", place / "s.npy", "--context", context)
    expected = load(bundle).score(points(), classes if given == "one each" else 2, batch_size=BATCH)
    assert np.array_equal(np.load(place / "s.npy"), expected)


@pytest.mark.parametrize(("n", "end"), [(3, ""), (3, "\n"), (9000, "\n\n\n")])
def test_contexts_of_each_row_of_a_csv_however_it_ends(make_bundle, place, n, end):
    bundle, classes, x = make_bundle(levels=None, context={"classes": 3}), np.arange(n) % 3, np.zeros((n, 1, 2, 2))
    (place / "x.csv").write_text("a,b,c,d\n" + "\n".join(["0,0,0,0.000000001"] * n) + end)
    score(bundle, place / "x.csv", "-o", place / "s.npy", "--context", save(place / "c.npy", classes))
    np.testing.assert_allclose(np.load(place / "s.npy"), load(bundle).score(x, classes), rtol=1e-6)


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet"])
@pytest.mark.parametrize("shape", [(ROWS - 1, 2), (ROWS, 3)])
def test_contexts_of_another_shape_are_refused_before_anything_is_scored(make_bundle, place, starts, kind, shape):
    bundle, context = make_bundle(levels=None, context={"shape": [2]}), save(place / "c.npy", np.zeros(shape))
    data = save(place / "x.npy", points()) if kind == "npy" else write(place / f"x.{kind}", table(points()))
    message = score(bundle, data, "--context", context, code=2).stderr
    assert message == f"context must have shape [{ROWS}, 2] (one per row) or [2] (one for all), got {list(shape)}\n"
    assert not starts


def test_a_csv_without_a_header_loses_no_row(make_bundle, place):
    data = place / "x.csv"
    np.savetxt(data, points(3).reshape(3, 4), delimiter=",")
    assert "3 events scored" in score(make_bundle(levels=None), data).stdout


def test_lines_of_large_events_are_read(place, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK", 1000)
    x = np.random.default_rng(0).normal(size=(2, 100))
    np.savetxt(place / "x.csv", x, "%.40e", delimiter=",")
    source = open_source(place / "x.csv", sources.Wanted((100,), None, None))
    ((events, context),) = source.batches(0, 2)
    assert np.array_equal(events, x) and context is None


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet"])
def test_no_rows_are_no_error(make_bundle, place, kind):
    empty = points(0)
    data = save(place / "x.npy", empty) if kind == "npy" else write(place / f"x.{kind}", table(empty))
    assert score(make_bundle(levels=None), data, "-o", place / "s.npy").stdout.startswith("0 events scored")
    assert np.load(place / "s.npy").shape == (0,)


def test_integer_data_has_noise_of_its_row_whatever_the_batches(make_bundle, place, monkeypatch):
    x = np.random.default_rng(0).integers(0, 17, (ROWS, 1, 2, 2))
    bundle, data = make_bundle(), save(place / "x.npy", x)
    expected = load(bundle).score(x, draws=2, seed=5)
    for size in (BATCH, 10):
        monkeypatch.setattr(sources, "MOST_AT_ONCE", size)
        score(bundle, data, "-o", place / "s.npy", "--draws", 2, "--seed", 5)
        np.testing.assert_allclose(np.load(place / "s.npy"), expected, rtol=1e-6)


# Images


@pytest.fixture
def pictures(place: Path) -> Path:
    """Grey, coloured, transparent, with a palette; and files that are no images."""
    (folder := place / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 2, 2), np.uint8)
    for name, mode, image in zip("dcba", ["L", "RGB", "RGBA", "P"], pixels, strict=True):
        Image.fromarray(image).convert(mode).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (folder / "deeper").mkdir()
    return folder


def test_a_folder_of_images_is_scored_by_name(make_bundle, place, pictures):
    bundle = make_bundle(levels=256)
    score(bundle, pictures, "-o", place / "s.csv")
    rows = pa.csv.read_csv(place / "s.csv")
    expected = np.stack([np.asarray(Image.open(pictures / f"{name}.png").convert("L"))[None] for name in "abcd"])
    assert rows["file"].to_pylist() == ["a.png", "b.png", "c.png", "d.png"]
    assert np.array_equal(rows["score"].to_numpy(), load(bundle).score(expected))


def test_an_image_of_another_size_is_named_or_resized(make_bundle, pictures):
    bundle = make_bundle(levels=256)
    Image.new("L", (6, 4)).save(pictures / "e.png")
    message = score(bundle, pictures, code=2).stderr
    assert f"{pictures / 'e.png'} is 6 × 4 pixels, events of this flow are 2 × 2; --resize brings it there" in message
    assert "5 events scored" in score(bundle, pictures, "--resize").stdout


def event_of(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """The image of a folder with this alone, as [h, w, c]."""
    source = open_source(path.parent, sources.Wanted((channels, *size), 256, None))
    ((events, _),) = source.batches(0, 1)
    return events[0].transpose(1, 2, 0).astype(int)


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # as EXIF says where the first row and column are
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_images_are_turned_as_browsers_turn_them(place, orientation, suffix):
    stored = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    (exif := Image.Exif())[0x112] = orientation
    Image.fromarray(stored).save(place / f"x.{suffix}", exif=exif, lossless=True)
    expected = TURNED[orientation](stored)
    assert np.array_equal(event_of(place / f"x.{suffix}", 3, expected.shape[:2]), expected)


def test_an_orientation_that_is_none_turns_nothing(place):
    stored = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    Image.fromarray(stored).save(place / "x.png", exif=b"Exif\0\0this is none")
    assert np.array_equal(event_of(place / "x.png", 3, (3, 5)), stored)


def transparent(mode: str) -> tuple[Image.Image, dict[str, Any]]:
    """An image of a mode, and how it is to be saved; in the first row it is transparent, below more or less so."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (4, 6, 4), np.uint8))
    opacity = rng.integers(0, 256, (4, 6), np.uint8)
    opacity[0] = 0
    image.putalpha(Image.fromarray(opacity))
    if mode == "P":
        return image.convert("RGB").convert("P"), {"transparency": bytes(opacity.ravel()) * 10}
    if mode in ("L", "RGB"):
        image = image.convert(mode)
        return image, {"transparency": image.getpixel((2, 1))}
    return image.convert(mode), {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_is_laid_on_black_as_on_the_page(place, mode, channels):
    """The page: the mean of opacity times red, green and blue; grey is 0.299 R + 0.587 G + 0.114 B of that."""
    image, options = transparent(mode)
    image.save(place / "x.png", **options)
    with Image.open(place / "x.png") as saved:
        pixels = np.asarray(saved.convert("RGBA")).astype(float)
    assert len(np.unique(pixels[..., 3])) > 1
    expected = pixels if channels == 4 else pixels[..., :3] * pixels[..., 3:] / 255
    if channels == 1:
        expected = expected @ [[0.299], [0.587], [0.114]]
    found = event_of(place / "x.png", channels, (4, 6))
    assert np.abs(found - np.rint(expected)).max() <= (channels < 4)
    assert channels == 4 or (found[pixels[..., 3] == 0] == 0).all()


def test_a_palette_with_opacities_is_laid_on_black(place):
    """Mode PA, of which Pillow writes no files."""
    Image.new("L", (6, 4)).save(place / "x.png")
    source = open_source(place, sources.Wanted((3, 4, 6), 256, None))
    image = transparent("LA")[0].convert("PA")
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    found = np.asarray(source._reader._converted(place / "x.png", image)).astype(float)
    assert np.abs(found - pixels[..., :3] * pixels[..., 3:] / 255).max() <= 1


@pytest.mark.filterwarnings("error")
def test_a_large_image_is_no_warning(place, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    Image.new("L", (6, 5), "white").save(place / "x.png")
    assert (event_of(place / "x.png", 1, (5, 6)) == 255).all()


@pytest.mark.parametrize("make", [loop, fifo, lambda path: path.symlink_to("nowhere")])
def test_an_image_that_is_a_link_to_nothing_is_named(make_bundle, pictures, make):
    make(pictures / "b2.png")
    message = score(make_bundle(levels=256), pictures, code=2).stderr
    assert message.startswith(f"{pictures / 'b2.png'} is a link to nothing, or no regular file: remove it")


def test_names_that_are_no_text_are_written(make_bundle, place):
    folder = place / os.fsdecode(b"images")
    folder.mkdir()
    name = os.fsdecode(b"\xff\xe9.png")
    Image.new("L", (2, 2)).save(folder / name)
    for output in ("s.csv", "s.parquet"):
        score(make_bundle(levels=256), folder, "-o", place / output)
    assert (place / "s.csv").read_bytes().splitlines()[1].startswith(b"\xff\xe9.png,")
    assert pa.parquet.read_table(place / "s.parquet")["file"].to_pylist() == [r"\udcff\udce9.png"]
    assert not list(place.glob(".*"))


def truncated(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2, 2), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:44])


def paintbrush(path: Path) -> None:
    """A format that Pillow could read."""
    Image.new("L", (2, 2)).save(path, "PCX")


IMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda path: path.write_text("x"), "e.png can't be read as an image"),
    "another format": (paintbrush, "e.png can't be read as an image"),
    "truncated": (truncated, "e.png can't be read as an image"),
    "16 bits": (lambda path: Image.fromarray(np.zeros((2, 2), np.uint16)).save(path), "e.png has more than 8 bits"),
    "other channels": (
        lambda path: Image.new("LAB", (2, 2)).save(path, "TIFF"),
        "or other ones (mode LAB): save it as RGB",
    ),
}


@pytest.mark.parametrize(("make", "message"), IMAGES.values(), ids=IMAGES)
def test_images_that_are_none_are_named(make_bundle, place, pictures, make, message):
    make(pictures / "e.png")
    assert message in score(make_bundle(levels=256), pictures, "-o", place / "s.npy", code=2).stderr
    assert not (place / "s.npy").exists() and not list(place.glob(".*"))


@pytest.mark.parametrize("levels", [None, 17])
def test_a_flow_of_no_bytes_takes_no_images(make_bundle, pictures, levels):
    assert "save them as .npy" in score(make_bundle(levels=levels), pictures, code=2).stderr


def test_a_folder_without_images_is_said_so(make_bundle, place):
    assert "holds no images" in score(make_bundle(levels=256), place, code=2).stderr


# Runs that are stopped

KILL = """
import os, signal, sys
from flowkit_runtime.streaming import part, sources
sources.MOST_AT_ONCE = 64
append = part.Part.append
def dying(self, scores):
    if self.rows == 128:
        part._write(self._file, scores.tobytes()[:-5])
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, scores)
part.Part.append = dying
from flowkit_runtime.cli.main import main
main()
"""


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows at which the batches that are scored begin."""
    seen: list[int] = []
    honest = Model.score

    def recording(self: Model, *arguments: Any, start: int = 0, **more: Any) -> Any:
        seen.append(start)
        return honest(self, *arguments, start=start, **more)

    monkeypatch.setattr(Model, "score", recording)
    return seen


@pytest.fixture
def integers() -> np.ndarray:
    """Events of a flow of integers, whose scores depend on the noise of each row."""
    return np.random.default_rng(0).integers(0, 17, (ROWS, 1, 2, 2))


def test_a_killed_run_goes_on_where_it_was_with_the_same_bytes(make_bundle, place, starts, integers):
    bundle, data = make_bundle(), save(place / "x.npy", integers)
    score(bundle, data, "-o", place / "whole.npy")
    arguments = [bundle, data, "-o", place / "s.npy"]
    done = subprocess.run([sys.executable, "-c", KILL, "score", *map(str, arguments)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert part_path(place / "s.npy").stat().st_size == 32 + 8 * 3 * BATCH - 5
    starts.clear()
    score(*arguments)
    assert starts == list(range(2 * BATCH, ROWS, BATCH))
    assert (place / "s.npy").read_bytes() == (place / "whole.npy").read_bytes()
    assert not list(place.glob(".*"))


def stop(monkeypatch: pytest.MonkeyPatch, *arguments: object, after: int = 2 * BATCH) -> Any:
    """Give the command, and Ctrl-C after some rows."""
    honest = Part.append

    def interrupted(self: Part, scores: Any) -> None:
        if self.rows == after:
            raise KeyboardInterrupt
        honest(self, scores)

    with monkeypatch.context() as patch:
        patch.setattr(Part, "append", interrupted)
        return score(*arguments, code=130)


def test_ctrl_c_says_how_to_go_on(make_bundle, place, monkeypatch, starts):
    arguments = make_bundle(levels=None), save(place / "x.npy", points()), "-o", place / "s.npy"
    assert f"the same command goes on from here to {place / 's.npy'}" in stop(monkeypatch, *arguments).stderr
    assert not (place / "s.npy").exists()
    starts.clear()
    score(*arguments)
    assert starts[0] == 2 * BATCH


@pytest.mark.parametrize("failure", [InputError("there isn't enough memory"), OSError(errno.EIO, "I/O error")])
def test_a_run_goes_on_after_an_error_that_may_pass(make_bundle, place, monkeypatch, starts, failure):
    arguments = make_bundle(levels=None), save(place / "x.npy", points()), "-o", place / "s.npy"
    honest, calls = sources.map_npy, []

    def failing(path: Path) -> Any:
        calls.append(path)
        if len(calls) > 3:  # it is opened, and read twice
            raise failure
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "map_npy", failing)
        assert CliRunner().invoke(app, ["score", *map(str, arguments)]).exit_code != 0
    starts.clear()
    score(*arguments)
    assert starts[0] == 2 * BATCH and not list(place.glob(".*"))


@pytest.mark.parametrize(("kind", "output"), [("csv", "parquet"), ("parquet", "csv")])
def test_a_stopped_run_of_a_table_goes_on_with_the_same_bytes(
    make_bundle, place, starts, integers, monkeypatch, kind, output
):
    bundle, data = make_bundle(threshold=THRESHOLD), write(place / f"x.{kind}", table(integers))
    score(bundle, data, "-o", place / f"whole.{output}")
    stop(monkeypatch, bundle, data, "-o", place / f"s.{output}")
    starts.clear()
    score(bundle, data, "-o", place / f"s.{output}")
    assert starts == list(range(2 * BATCH, ROWS, BATCH))
    assert (place / f"s.{output}").read_bytes() == (place / f"whole.{output}").read_bytes()


def touch(bundle: Path, place: Path) -> list[str]:
    os.utime(place / "x.csv", ns=(1, 1))
    return []


def grow(bundle: Path, place: Path) -> list[str]:
    status = (place / "x.csv").stat()
    with (place / "x.csv").open("a") as file:
        file.write("1,2,3,4\n")
    os.utime(place / "x.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
    return []


def other_model(bundle: Path, place: Path) -> list[str]:
    edit_manifest(bundle, lambda manifest: manifest.update(model="1" * 64))
    return []


def other_library(bundle: Path, place: Path) -> list[str]:
    (place / "x.csv").rename(place / "y.csv")
    (place / "x.csv").symlink_to(place / "y.csv")
    return []


CHANGES: dict[str, Callable[[Path, Path], list[str]]] = {
    "the time of the data": touch,
    "the size of the data": grow,
    "the place of the data": other_library,
    "the bundle": other_model,
    "draws": lambda bundle, place: ["--draws", "2"],
    "seed": lambda bundle, place: ["--seed", "1"],
    "columns": lambda bundle, place: ["--columns", "d,c,b,a"],
    "threads": lambda bundle, place: ["--threads", "1"],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_run_begins_anew(make_bundle, place, monkeypatch, starts, integers, change):
    bundle, data = make_bundle(), write(place / "x.csv", table(integers))
    stop(monkeypatch, bundle, data, "-o", place / "s.npy")
    starts.clear()
    score(bundle, data, "-o", place / "s.npy", *change(bundle, place))
    assert starts[0] == 0
    assert len(np.load(place / "s.npy")) in (ROWS, ROWS + 1)


def test_a_part_of_an_image_folder_is_begun_anew_if_an_image_changes(make_bundle, place, pictures, monkeypatch, starts):
    monkeypatch.setattr(sources, "MOST_AT_ONCE", 1)
    bundle = make_bundle(levels=256)
    for touched in (False, True):
        stop(monkeypatch, bundle, pictures, "-o", place / "s.npy", after=2)
        if touched:
            os.utime(pictures / "c.png", ns=(1, 1))
        starts.clear()
        score(bundle, pictures, "-o", place / "s.npy")
        assert starts[0] == (0 if touched else 2)


PEAK = """
import sys  # getrusage counts what this process was forked from
from flowkit_runtime.cli.main import app
app(sys.argv[1:], standalone_mode=False)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_memory_does_not_grow_with_the_rows(make_bundle, place, kind):
    bundle, peaks = make_bundle(levels=None), []
    for n in (100_000, 1_000_000):  # of 16 bytes, and of 8 bytes of score
        x = np.zeros((n, 1, 2, 2), np.float32)
        data = place / f"x.{kind}"
        save(data, x) if kind == "npy" else pa.parquet.write_table(table(x), data)
        command = [sys.executable, "-c", PEAK, "score", bundle, data, "-o", place / "s.npy", "--threads", "1"]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 6000, peaks  # kB


def test_two_processes_do_not_write_one_output(make_bundle, place):
    with opened(place / "s.npy"):
        data = save(place / "x.npy", points())
        message = score(make_bundle(levels=None), data, "-o", place / "s.npy", code=2).stderr
    assert "s.npy is being written by another process" in message


def test_a_part_is_another_processes_only_once_it_is_gone(make_bundle, place, monkeypatch):
    bundle, data, unlink, refused = make_bundle(levels=None), save(place / "x.npy", points()), Path.unlink, []

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path == part_path(place / "s.npy"):
            with pytest.raises(InputError, match="is being written by another process"), opened(place / "s.npy"):
                pass
            refused.append(True)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    score(bundle, data, "-o", place / "s.npy")
    points_with_nan = points()
    points_with_nan[200] = np.nan
    score(bundle, save(place / "x.npy", points_with_nan), "-o", place / "s.npy", code=2)
    assert refused == [True, True] and not list(place.glob(".*"))


def test_a_lock_that_is_removed_before_it_is_held_is_made_again(place, monkeypatch):
    flock, removed = fcntl.flock, []

    def late(file: Any, flags: int) -> None:
        if not removed:
            removed.append((place / ".s.npy.lock").unlink())
        flock(file, flags)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        opened(place / "s.npy"),
        pytest.raises(InputError, match="is being written by another process"),
        opened(place / "s.npy"),
    ):
        pass


def test_scores_are_written_where_files_cannot_be_locked(make_bundle, place, no_locks):
    score(make_bundle(levels=None), save(place / "x.npy", points()), "-o", place / "s.npy")
    assert len(np.load(place / "s.npy")) == ROWS and not list(place.glob(".*"))


def test_a_part_that_somebody_removed_is_no_error(make_bundle, place, monkeypatch):
    def removing(*arguments: Any) -> Any:
        part_path(place / "s.npy").unlink()
        return summarize(*arguments)

    monkeypatch.setattr("flowkit_runtime.streaming.scoring.summarize", removing)
    score(make_bundle(levels=None), save(place / "x.npy", points()), "-o", place / "s.npy")
    assert len(np.load(place / "s.npy")) == ROWS


def test_a_link_under_the_name_of_the_part_is_not_followed(make_bundle, place):
    (place / "precious").write_text("precious")
    part_path(place / "s.npy").symlink_to(place / "precious")
    score(make_bundle(levels=None), save(place / "x.npy", points()), "-o", place / "s.npy")
    assert (place / "precious").read_text() == "precious" and len(np.load(place / "s.npy")) == ROWS


# What can't be scored


def test_without_an_output_a_full_disk_names_the_temporary_directory(make_bundle, place, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bundle, data = make_bundle(levels=None), save(place / "x.npy", points())
    monkeypatch.setattr("flowkit_runtime.streaming.part._write", full)
    assert score(bundle, data, code=2).stderr == f"{tempfile.gettempdir()}: No space left on device\n"


def test_without_an_output_some_temporary_directory_is_needed(make_bundle, place, monkeypatch):
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    message = score(make_bundle(levels=None), save(place / "x.npy", points()), code=2).stderr
    assert message.startswith("No usable temporary directory found in ['/tmp']: make one, or name an output")


def test_an_output_below_a_file_is_told_so(make_bundle, place):
    data = save(place / "x.npy", points())
    for output in (data / "s.npy", data / "deeper" / "s.npy"):
        assert "s.npy: Not a directory" in score(make_bundle(levels=None), data, "-o", output, code=2).stderr


def test_a_bad_value_names_file_and_row_and_leaves_nothing(make_bundle, place):
    bundle, x = make_bundle(levels=None), points()
    x[200, 0, 1, 0] = np.nan
    for data in (save(place / "x.npy", x), write(place / "x.parquet", table(x))):
        message = score(bundle, data, "-o", place / "s.npy", code=2).stderr
        assert message.startswith(f"{data}: x must be finite in float32; in row 200, x[200, 0, 1, 0] is nan")
        assert not (place / "s.npy").exists() and not list(place.glob(".*"))


def test_a_value_off_the_grid_names_file_and_row(make_bundle, place):
    x = np.full((ROWS, 1, 2, 2), 3)
    x[200, 0, 1, 1] = 17
    message = score(make_bundle(), save(place / "x.npy", x), code=2).stderr
    assert "x.npy: x must hold whole numbers from 0 to 16; in row 200, x[200, 0, 1, 1] is 17" in message


def test_a_bad_context_names_its_row(make_bundle, place):
    context = np.zeros(ROWS, int)
    context[200] = 3
    message = score(
        *(make_bundle(levels=None, context={"classes": 3}), save(place / "x.npy", points())),
        *("--context", save(place / "c.npy", context)),
        code=2,
    ).stderr
    row = "context must hold classes from 0 to 2; in row 200, context[200] is 3"
    assert message == f"{place / 'c.npy'}: {row} (rows count from 0)\n"


def test_what_is_not_of_a_row_does_not_name_the_data(make_bundle, place):
    message = score(make_bundle(), save(place / "x.npy", np.zeros((3, 1, 2, 2))), "--draws", 2**40, code=2).stderr
    assert message == f"draws must be from 1 to {2**31}, got {2**40}\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_missing_value_names_column_and_row(make_bundle, place, monkeypatch, kind):
    monkeypatch.setattr(tables, "_BLOCK", 640)  # some rows at a time, fewer than are scored at once
    column = pa.array([None if row == 200 else 1.0 for row in range(ROWS)])
    rows = table(points()).set_column(2, "c", column)
    message = score(make_bundle(levels=None), write(place / f"x.{kind}", rows), code=2).stderr
    assert f"x.{kind}: there is no value in column 'c' of row 200" in message


ONE = sources.Wanted((1,), None, None)
GAPS = {
    "the end of a first line": ("1.5,\n3,4\n", 2, "column 'f1' of row 0"),
    "a first line, as NA": ("1.5,NA\n3,4\n", 2, "column 'f1' of row 0"),
    "all of a first line": ("NA,\n3,4\n", 2, "column 'f0' of row 0"),
    "an empty line": ("a\n1\n\n3\n", 1, "column 'a' of row 1"),
    "an empty line of Windows": ("a\r\n1\r\n\r\n3\r\n", 1, "column 'a' of row 1"),
    "an empty line without names": ("1\n\n3\n", 1, "column 'f0' of row 1"),
    "an empty line far behind": ("1\n" * 5000 + "\n3\n", 1, "column 'f0' of row 5000"),
    "an NA at the end": ("a\n1\n3\nNA\n\n", 1, "column 'a' of row 2"),
}


@pytest.mark.parametrize(("text", "values", "message"), GAPS.values(), ids=GAPS)
def test_no_row_of_a_csv_is_lost_for_a_missing_value(place, monkeypatch, text, values, message):
    monkeypatch.setattr(tables, "_BLOCK", 1000)
    (place / "x.csv").write_bytes(text.encode())
    with pytest.raises(InputError, match=f"x.csv: there is no value in {message}"):
        list(open_source(place / "x.csv", sources.Wanted((values,), None, None)).batches(0, 4096))


@pytest.mark.parametrize("text", ["\n1\n3\n", "\na\n1\n3\n", "\r\n1\n"])
def test_a_column_that_begins_with_an_empty_line_is_refused(place, text):
    (place / "x.csv").write_bytes(text.encode())
    with pytest.raises(InputError, match=r"x\.csv begins with an empty line"):
        open_source(place / "x.csv", ONE)


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("begin", ["", "a\n", "2020_1\n", "0x10\n"])
def test_empty_lines_at_the_end_are_no_rows(place, begin, end):
    (place / "x.csv").write_bytes(f"{begin}1\n3{end}".encode())
    ((events, _),) = open_source(place / "x.csv", ONE).batches(0, 10)
    assert events.tolist() == [[1], [3]]


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n", "\r\n\r\n"])
def test_a_column_may_have_one_row_or_none(place, end):
    for text, rows in (("1", [[1]]), ("a\n1", [[1]]), ("a", [])):
        (place / "x.csv").write_bytes(f"{text}{end}".encode())
        batches = open_source(place / "x.csv", ONE).batches(0, 10)
        assert [row for events, _ in batches for row in events.tolist()] == rows


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("in_memory", [True, False])
def test_threads_of_pyarrow_hold_no_python_object(place, monkeypatch, in_memory, columns):
    """A thread that releases one while the interpreter exits aborts the process."""
    opened, open_csv = [], pa.csv.open_csv

    def spy(file, *options):
        opened.append((file, pa.total_allocated_bytes() - before))
        return open_csv(file, *options)

    monkeypatch.setattr(pa.csv, "open_csv", spy)
    if not in_memory:
        monkeypatch.setattr(tables, "_BLOCK", 4)
        monkeypatch.setattr(tables, "_LINE", 4)
    text = ("a,b\n1,2\n3,4" if columns == 2 else "a\n1\n3\n5") + "\n\n"
    (place / "x.csv").write_text(text)
    before = pa.total_allocated_bytes()
    ((events, _),) = open_source(place / "x.csv", sources.Wanted((columns,), None, None)).batches(0, 10)
    assert events.tolist() == ([[1, 2], [3, 4]] if columns == 2 else [[1], [3], [5]])
    assert len(opened) == 2
    for file, allocated in opened:
        assert isinstance(file, pa.NativeFile) and not isinstance(file, pa.PythonFile)
        assert allocated >= len(text.strip()) if in_memory else not isinstance(file, pa.BufferReader)


def test_what_python_takes_for_numbers_may_be_names(place):
    (place / "x.csv").write_text("2020_1,2020_2\n1,2\n\n3,4\n")
    source = open_source(place / "x.csv", sources.Wanted((2,), None, None, columns=("2020_1", "2020_2")))
    ((events, _),) = source.batches(0, 10)
    assert events.tolist() == [[1, 2], [3, 4]]


LEAKS = {
    "text": (
        b"a,b\n1,2\n3,secret\n",
        "column 'b' of row 1 holds no number (rows count from 0; below a header, row 0 is usually line 2)",
    ),
    "text without a header": (
        b"1,2\n3,secret\n",
        "column 'f1' of row 1 holds no number (rows count from 0; below a header, row 0 is usually line 2)",
    ),
    "text behind empty lines": (
        b"a,b\n\n\n1,2\nsecret,4\n",
        "column 'a' of row 1 holds no number (rows count from 0; below a header, row 0 is usually line 2)",
    ),
    "a large number": (
        b"a,b\n" + b"1,2\n" * 5000 + b"3,0x5ec4e7secret\n",
        "column 'b' of row 5000 holds no number (rows count from 0; below a header, row 0 is usually line 2)",
    ),
    "long row": (b"a,b\n1,2\n3,4,secret\n", "line 3 has 3 values, not 2 (empty lines don't count)"),
    "long row without a header": (b"1,2\n\n3,4,secret\n", "line 2 has 3 values, not 2 (empty lines don't count)"),
    "long row far behind": (
        b"a,b\n" + b"1,2\n" * 5000 + b"3,4,secret\n",
        "line 5002 has 3 values, not 2 (empty lines don't count)",
    ),
}


@pytest.mark.parametrize(("content", "message"), LEAKS.values(), ids=LEAKS)
def test_errors_say_where_the_text_of_a_csv_is_wrong_and_do_not_quote_it(place, monkeypatch, content, message):
    monkeypatch.setattr(tables, "_BLOCK", 1000)
    (place / "x.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(open_source(place / "x.csv", sources.Wanted((2,), None, None)).batches(0, 10))
    assert str(caught.value) == f"{place / 'x.csv'} can't be read as CSV: {message}"


def test_a_class_of_a_csv_that_is_none_is_located(place):
    (place / "x.csv").write_text("name,a,c\nsecret,1,0\nsecret,2,0.5\n")
    wanted = sources.Wanted((1,), None, Context((), 3), columns=("a",), context_columns=("c",))
    with pytest.raises(InputError, match=r"x\.csv: c must hold whole numbers from 0 to 2; in row 1, c\[1\] is 0\.5"):
        list(open_source(place / "x.csv", wanted).batches(0, 10))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_than_commas_is_named(make_bundle, place, separator):
    (place / "x.csv").write_text(separator.join("abcd") + "\n" + separator.join("1234") + "\n")
    message = score(make_bundle(levels=None), place / "x.csv", code=2).stderr
    assert f"its values are separated by {separator!r}: save it with commas" in message


def test_many_names_of_columns_are_shortened(place):
    (place / "x.csv").write_text(",".join(f"column{i}" for i in range(1000)) + "\n")
    for columns in ((), ("a", "b"), ("column1",) * 500):
        with pytest.raises(InputError, match=" …") as caught:
            open_source(place / "x.csv", sources.Wanted((2,), None, None, columns=columns))
        assert len(str(caught.value)) < 1000


def misfits(place: Path, kind: str) -> Iterator[tuple[pa.Table, list[str], str]]:
    rows = table(points(3))
    yield rows.select(["a", "b"]), [], "an event of this flow has 4 values, and there are 2 columns (a, b); choose with"
    yield rows, ["--columns", "a,b,c"], "there are 3 columns (a, b, c)"
    yield rows, ["--columns", "a,b,c,e"], f"x.{kind} has no column 'e'; its columns are a, b, c, d"
    yield (
        rows,
        ["--columns", "e,b,f,A"],
        f"x.{kind} has no columns 'e', 'f', 'A' (did you mean 'a'?); its",
    )
    yield rows, ["--columns", "a,b,c,c"], "a column is chosen twice"
    yield rows, ["--context-columns", "a"], "takes no context; leave --context-columns out"
    words = rows.set_column(1, "b", pa.array(["x", "y", "z"]))
    yield (
        words,
        [],
        "column 'b' holds string, not numbers" if kind == "parquet" else "column 'b' of row 0 holds no number",
    )


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_that_do_not_fit(make_bundle, place, kind, case):
    rows, options, message = list(misfits(place, kind))[case]
    assert message in score(make_bundle(levels=None), write(place / f"x.{kind}", rows), *options, code=2).stderr


FILES = {
    "missing": ("x.npy", None, "there is no such file"),
    "another kind": (
        "x.txt",
        b"1,2,3,4",
        "neither a folder of images nor a file .npy, .csv, .parquet, .arrow, .feather",
    ),
    "empty array": ("x.npy", b"", "can't be read as .npy"),
    "empty CSV": ("x.csv", b"", "x.csv can't be read as CSV: it is empty"),
    "ragged CSV": ("x.csv", b"a,b,c,d\n1,2,3,4\n1,2\n", "x.csv can't be read as CSV: line 3 has 2 values, not 4"),
    "a row or names": ("x.csv", b"0,1,2,3\n4,5,6,7\n", "x.csv begins with 0,1,2,3: a row, or names?"),
    "a row or names, and an index": ("x.csv", b",0,1,2\n0,5,6,7\n", "x.csv begins with ,0,1,2: a row, or names?"),
    "twice a name": ("x.csv", b"a,a,c,d\n1,2,3,4\n", "a column is chosen twice: a, a, c, d"),
    "no Parquet": ("x.parquet", b"x" * 100, "x.parquet can't be read as Parquet"),
    "names that are no UTF-8": ("x.csv", "ä,b,c,d\n".encode("latin-1"), "the name of a column is not UTF-8 text"),
    "empty Parquet": ("x.parquet", b"", "x.parquet can't be read as Parquet"),
}


@pytest.mark.parametrize(("name", "content", "message"), FILES.values(), ids=FILES)
def test_files_that_are_none(make_bundle, place, name, content, message):
    if content is not None:
        (place / name).write_bytes(content)
    assert message in score(make_bundle(levels=None), place / name, "-o", place / "s.npy", code=2).stderr
    assert not list(place.glob(".*")) and not (place / "s.npy").exists()


def test_an_output_that_is_the_data_is_refused(make_bundle, place):
    bundle, data = make_bundle(levels=None), save(place / "x.npy", np.zeros((3, 1, 2, 2)))
    (place / "link.npy").symlink_to("x.npy")
    before = data.read_bytes()
    for output in (data, place / "link.npy", place / "." / "x.npy"):
        assert "is the data itself: name another output" in score(bundle, data, "-o", output, code=2).stderr
    assert data.read_bytes() == before


def test_an_output_that_is_the_context_is_refused(make_bundle, place):
    bundle, data = make_bundle(levels=None, context={"classes": 3}), save(place / "x.npy", points(3))
    before = save(place / "c.npy", np.arange(3)).read_bytes()
    (place / "link.npy").symlink_to("c.npy")
    for context, output in (("c.npy", "c.npy"), ("c.npy", "link.npy"), ("link.npy", "c.npy")):
        message = score(bundle, data, "--context", place / context, "-o", place / output, code=2).stderr
        assert message == f"{place / output} is the context itself: name another output\n"
    assert (place / "c.npy").read_bytes() == before


def test_an_output_that_is_a_directory_is_refused_before_anything_is_scored(make_bundle, place, starts):
    (place / "s.csv").mkdir()
    message = score(make_bundle(levels=None), save(place / "x.npy", points(3)), "-o", place / "s.csv", code=2).stderr
    assert message == f"{place / 's.csv'}: it is a directory, not a file to write to\n"
    assert not starts and not list(place.glob(".*"))


def test_decimals_and_suffixes_in_capitals(make_bundle, place):
    bundle = make_bundle(levels=None)
    decimals = pa.array([Decimal("1.25"), Decimal("-3.50")])
    data = write(place / "x.parquet", pa.table(dict.fromkeys("abcd", decimals)))
    score(bundle, data.rename(place / "X.PARQUET"), "-o", place / "s.npy")
    save(place / "X.NPY.npy", np.repeat([1.25, -3.5], 4).reshape(2, 1, 2, 2)).rename(place / "X.NPY")
    score(bundle, place / "X.NPY", "-o", place / "t.npy")
    np.testing.assert_array_equal(np.load(place / "s.npy"), np.load(place / "t.npy"))


def test_arrays_of_another_shape_and_columns_of_arrays(make_bundle, place):
    bundle, data = make_bundle(levels=None), save(place / "x.npy", np.zeros((3, 4)))
    assert "x.npy must have shape [n, 1, 2, 2], got [3, 4]" in score(bundle, data, code=2).stderr
    assert "x.npy is no table" in score(bundle, data, "--columns", "a", code=2).stderr


def test_an_output_of_another_kind_is_refused_before_anything_is_read(make_bundle, place):
    assert "must end with .npy, .csv or .parquet" in score(place, place, "-o", place / "s.txt", code=2).stderr


@pytest.mark.parametrize(("name", "package"), [("pyarrow", "pyarrow"), ("PIL", "pillow")])
def test_what_is_not_installed_is_said(make_bundle, place, pictures, monkeypatch, name, package):
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    (place / "x.csv").write_text("a,b,c,d\n1,2,3,4\n")
    data = pictures if package == "pillow" else place / "x.csv"
    assert f"needs {package}: pip install {package}" in score(make_bundle(levels=256), data, code=2).stderr
