"""`flowkit train`, `evaluate` and `sample`, and what a SIGKILL leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from matplotlib.image import imread
from safetensors.torch import load_file
from typer.testing import CliRunner

from flowkit.cli.export import _summary
from flowkit.cli.main import app
from flowkit.errors import ExportError
from flowkit.flow import Flow
from flowkit.spec import read_spec, to_yaml
from flowkit.train import load_data, resume, train
from flowkit.train.fit import Training
from tests.extent import extent
from tests.flow.specs import SMALL
from tests.train.conftest import SPEC, leave_out_pictures

pytestmark = pytest.mark.usefixtures("no_pictures")

DIGITS = {
    "flowkit": 1,
    "event": {"shape": [1, 8, 8], "levels": 17},
    "context": {"classes": 10},
    "flow": [
        {"use": "glow/rescale"},
        {"use": "glow/squeeze"},
        {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/convnet", "hidden": 4}},
    ],
    "data": {"use": "data/digits"},
    "train": {"epochs": 1, "batch_size": 256, "optimizer": {"lr": 0.1}},
}


def flowkit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs that no test writes to: ``moons``, and ``digits``, conditional on the label."""
    directory = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        train(read_spec({**SPEC, "flow": SMALL["flow"]}, ["train.epochs=1"]), directory / "moons")
        train(read_spec(DIGITS), directory / "digits")
    return directory


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("moons.yaml").write_text(to_yaml(read_spec(SPEC)))
    return Path("moons.yaml")


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "export"])
def test_whatever_runs_a_flow_keeps_the_memory_that_it_frees(
    command: str, runs: Path, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the command is left out here."""

    class Kept(Exception):
        pass

    def keep() -> None:
        raise Kept

    for module in ("flowkit.allocator", "flowkit.train.here"):
        monkeypatch.setattr(f"{module}.keep_freed_memory", keep)
    on = {"train": (spec,), "sample": (runs / "moons", "-o", "samples.npy")}
    assert isinstance(flowkit(command, *on.get(command, (runs / "moons",))).exception, Kept)


def test_train_writes_runs_named_after_the_spec(spec: Path) -> None:
    first, second = (flowkit("train", spec, "--set", "train.epochs=1") for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    results = json.loads(Path("runs/moons/results.json").read_text())
    expected = f"val {results['val']:.4f}, test {results['test']:.4f} nats"
    assert first.stdout.splitlines()[-1] == f"runs/moons: {expected}"
    assert second.stdout.splitlines()[-1] == f"runs/moons-2: {expected}"
    assert "stopped" not in first.stdout


def test_train_says_which_epoch_is_kept(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [2.0, 3.0]
    monkeypatch.setattr("flowkit.train.fit.evaluate", lambda *_: figures.pop(0))
    *_, stopped, last = flowkit("train", spec, "--set", "train.patience=1").stdout.splitlines()
    assert stopped == "stopped after epoch 2: no better validation since epoch 1 (train.patience: 1)"
    assert last.startswith("runs/moons: val 2.0000 (epoch 1), test ")


def test_ctrl_c_says_how_to_go_on(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "validate", interrupt)
        result = flowkit("train", spec, "-o", "run")
    assert result.exit_code == 130
    assert "`flowkit train --resume run` goes on" in result.stderr
    assert flowkit("train", "--resume", "run").exit_code == 0
    again = flowkit("train", "--resume", "run")
    assert again.exit_code == 2 and "run is finished" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either a SPEC or a run"),
        (("moons.yaml", "--epochs", "3"), "--epochs: write --set train.epochs=…"),
        (("moons.yaml", "--batch-size=3"), "--batch-size: write --set train.batch_size=…"),
        (("moons.yaml", "--lr", "0.1"), "--lr: write --set train.optimizer.lr=…"),
        (("moons.yaml", "--resume", "run"), "give either a SPEC or a run"),
        (("--resume", "run", "-o", "other"), "leave out -o"),
        (("--resume", "run", "--set", "train.epochs=9"), "run is not a run"),
        (("--resume", "run"), "run is not a run"),
        (("moons.yaml", "-o", "."), "exists and is not empty"),
    ],
)
def test_train_refuses(spec: Path, arguments: tuple[str, ...], message: str) -> None:
    result = flowkit("train", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_evaluate_prints_the_figure_of_the_results(runs: Path) -> None:
    results = json.loads((runs / "digits" / "results.json").read_text())
    head, flow, *_ = flowkit("evaluate", runs / "digits").stdout.splitlines()
    assert head == "test, 180 events, bits/dim, lower is better:" and flow.split() == ["flow", f"{results['test']:.4f}"]
    head, flow, *_ = flowkit("evaluate", runs / "digits", "--split", "val", "--draws", "1").stdout.splitlines()
    assert head == "val, 180 events, bits/dim, lower is better:" and flow.split() == ["flow", f"{results['val']:.4f}"]


def test_a_test_part_with_an_outlier_has_no_figure_and_the_run_is_finished_once_it_is_mended(
    spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    row = next(row for row, parts in enumerate(_parts(events)) if parts == "test")
    outlier = events.copy()
    outlier[row] = 1e25
    np.save("events.npy", outlier)
    result = flowkit("train", spec, "-o", "run", "--set", "data={use: data/npy, path: events.npy}")
    assert result.exit_code == 1
    where = "first event 0 (counted from 0), of values from 1e+25 to 1e+25. The flow is trained, but has no figure"
    assert f"test: 1 of 20 events have no finite score, {where}" in result.stderr
    assert f"`flowkit train --resume {Path('run').resolve()}` finishes the run" in result.stderr
    assert not Path("run/results.json").exists()
    np.save("events.npy", events[1:])
    changed = flowkit("train", "--resume", "run").stderr
    assert "train: events were float32 [160, 2]" in changed and "and are float32 [159, 2]" in changed
    np.save("events.npy", events)
    assert flowkit("train", "--resume", "run").exit_code == 0
    assert flowkit("evaluate", "run").exit_code == 0
    np.save("events.npy", outlier)
    for command in ("evaluate", "export"):
        result = flowkit(command, "run")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "the data has changed since the run began:\n  test: events" in result.stderr


def _parts(events: np.ndarray) -> list[str]:
    """Of which part each event is."""
    np.save("events.npy", events)
    config = read_spec(SPEC, ["data={use: data/npy, path: events.npy}"])
    parts = {tuple(x): name for name, arrays in load_data(config).items() for x in arrays.x[:].tolist()}
    return [parts[tuple(x)] for x in events.tolist()]


@pytest.mark.parametrize(("where", "run"), [(".", "moons"), ("moons", "."), ("moons/checkpoints", "..")])
def test_exports_are_named_after_the_run(where: str, run: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(flow: Any, directory: Path, *_: Any, **__: Any) -> None:
        raise ExportError(f"to {directory}")

    monkeypatch.setattr("flowkit.export.export", export)
    monkeypatch.chdir(runs / where)
    assert flowkit("export", run).stderr == f"to {Path('exports/moons')}\n"


def _says_no_more_than_a_verdict(exported: str, bundle: Path) -> None:
    """The table, which has errors of a million among extremes, is printed on request alone."""
    verified, table = flowkit("verify", bundle).stdout, flowkit("verify", bundle, "-v").stdout
    for text in (exported, verified):
        assert text.startswith("verified: ") and "extremes" not in text and len(text.splitlines()) <= 10
    assert exported.splitlines()[-1] == f"{bundle}: decode.onnx, encode.onnx"
    assert table.startswith(verified.splitlines()[0])
    assert all(group in table for group in ("held-out", "off-data", "extremes"))


@pytest.mark.parametrize(("levels", "layer", "unit"), [(None, "actnorm", "nats"), (256, "rescale", "bits/dim")])
def test_export_prints_the_change_of_log_densities_in_the_unit_of_the_data(
    levels: int | None, layer: str, unit: str
) -> None:
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [2], "levels": levels}, "flow": [{"use": f"glow/{layer}"}]})
    manifest = {"excluded": {}, "change": 1.5e-6, "restored": None, "threshold": None}
    said = list(_summary(manifest, flow, verbose=True))
    assert said == [f"log-densities of held-out events are off by 1.5e-06 {unit} on average"]


@pytest.mark.parametrize("wrong", ["1.5", "1", "0"])
def test_export_refuses_a_quantile_before_it_looks_at_the_run(tmp_path: Path, wrong: str) -> None:
    result = flowkit("export", tmp_path / "no run", "--quantile", wrong)
    assert result.exit_code == 2 and "quantile must be a number above 0 and below 1, such as 0.99" in result.stderr


@pytest.mark.slow
def test_export_takes_the_quantile_of_the_threshold(runs: Path, tmp_path: Path) -> None:
    result = flowkit("export", runs / "moons", "-o", tmp_path / "b", "--quantile", "0.995")
    assert result.exit_code == 0, result.output
    threshold = json.loads((tmp_path / "b" / "manifest.json").read_text())["threshold"]
    assert threshold["quantile"] == 0.995
    events, score = threshold["events"], threshold["score"]
    assert f"threshold: 99.5% of {events} held-out events score below {score:.4f} nats\n" in result.stdout
    _says_no_more_than_a_verdict(result.stdout, tmp_path / "b")


def test_sample_arrays(runs: Path, tmp_path: Path) -> None:
    def draw(*options: str) -> np.ndarray:
        assert flowkit("sample", runs / "moons", "-o", tmp_path / "x.npy", *options).exit_code == 0
        return np.load(tmp_path / "x.npy")

    assert draw("-n", "5").shape == (5, 2) and draw().shape == (64, 2)
    assert (draw() == draw("--seed", "0")).all() and (draw() != draw("--seed", "1")).all()
    assert draw("--temperature", "0.1").std() < draw().std()


@pytest.mark.parametrize("run", ["digits", "moons"])
def test_sample_pictures(runs: Path, tmp_path: Path, run: str) -> None:
    result = flowkit("sample", runs / run, "-n", "32", "-o", tmp_path / "x.png")
    assert result.stdout == f"32 samples: {tmp_path / 'x.png'}\n"
    assert imread(tmp_path / "x.png")[..., :3].std() > 0.05


def test_sample_takes_labels_in_turn_or_one_or_a_file(runs: Path, tmp_path: Path) -> None:
    def draw(*options: str | Path) -> np.ndarray:
        assert flowkit("sample", runs / "digits", "-n", "11", "-o", tmp_path / "x.npy", *options).exit_code == 0
        return np.load(tmp_path / "x.npy")

    np.save(tmp_path / "labels.npy", np.arange(11) % 10)
    assert (draw() == draw("--context", tmp_path / "labels.npy", "-n", "1")).all()
    threes = draw("--context", "3")
    np.save(tmp_path / "two.npy", [3, 5])
    two = draw("--context", tmp_path / "two.npy")
    assert two.shape == (22, 1, 8, 8) and (two[:11] == threes).all() and (two[11:] != draw()).any()
    assert threes.dtype == np.uint8 and (threes[3] == draw()[3]).all() and (threes != draw()).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "x.jpg"), "must end with .png or .npy"),
        (("-o", "x.csv"), "DIR, then flowkit-runtime sample DIR -o x.csv"),
        (("-o", "x.npy", "--context", "seven"), "'seven' is no class of this flow: its classes are 0, 1"),
        (("-o", "x.npy", "--context", "nowhere.npy"), "nowhere.npy can't be read"),
        (("-o", "x.npy", "--context", "words.npy"), "'a' is no class of this flow"),
        (("-o", "x.npy", "--context", "empty.npy"), "empty.npy has no rows"),
        (("-o", "x.npy", "--context", "10"), "'10' is no class of this flow"),
        (("-o", "labels.npy", "--context", "labels.npy"), "labels.npy is the context itself: name another output"),
    ],
)
def test_sample_refuses(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("words.npy", np.array(["a"] * 64))
    np.save("labels.npy", np.zeros(64, int))
    np.save("empty.npy", np.zeros(0, int))
    result = flowkit("sample", runs / "digits", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize("devices", extent([2], [1, 2]))
def test_a_closed_pipe_says_how_to_go_on(spec: Path, devices: int) -> None:
    overrides = ["--set", "train.epochs=1000", "--set", f"train.devices={devices}"]
    command = [Path(sys.executable).with_name("flowkit"), "train", spec, "-o", "piped", *overrides]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().startswith("epoch 1/")
    process.stdout.close()
    assert process.stderr is not None
    advice = "interrupted: `flowkit train --resume piped` goes on, with `--finish` it ends here\n"
    assert (process.stderr.read(), process.wait(60)) == (advice, 141)


@pytest.mark.slow
def test_a_run_survives_kills_and_sigterm_says_how_to_go_on(spec: Path) -> None:
    command = [sys.executable, "-c", "from flowkit.cli.main import main; main()", "train"]
    run = Path("killed")
    arguments: list[str | Path] = [spec, "-o", run, "--set", "train.epochs=40"]
    advice = "interrupted: `flowkit train --resume killed` goes on, with `--finish` it ends here\n"
    for rows, number, ended in ((1, signal.SIGKILL, (-signal.SIGKILL, "")), (20, signal.SIGTERM, (143, advice))):
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (run / "metrics.csv").exists() or (run / "metrics.csv").read_text().count("\n") <= rows:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == ended
        arguments = ["--resume", run]
    assert not (run / "results.json").exists()
    resume(run)
    train(read_spec(spec, ["train.epochs=40"]), Path("whole"))
    whole, killed = (load_file(Path(name) / "weights.safetensors") for name in ("whole", "killed"))
    assert all((whole[name] == killed[name]).all() for name in whole)
