"""Whole runs: what they leave behind, kill and resume, what is refused, early stopping, initialization."""

from __future__ import annotations

import contextlib
import csv
import errno
import importlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

import flowkit
from flowkit.errors import (
    DataError,
    DriftWarning,
    FlowkitError,
    InputError,
    PictureWarning,
    RunError,
    ScheduleWarning,
    TrainingError,
)
from flowkit.flow import Flow
from flowkit.plugin import Arrays, Dataset, DatasetConfig, DatasetRef, PluginConfig
from flowkit.spec import Spec, read_spec, to_yaml
from flowkit.train import Results, evaluate, load_data, read_results, resume, train
from flowkit.train.checkpoint import Checkpoint
from flowkit.train.directory import TRAINING, with_absolute_paths
from flowkit.train.fit import Training
from flowkit.train.step import Fitting
from tests.flow.specs import SMALL
from tests.train.conftest import SPEC, leave_out_pictures

MakeSpec = Callable[..., Spec]

pytestmark = pytest.mark.usefixtures("no_pictures")


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv without the seconds, which differ from run to run."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader((run / "metrics.csv").open())]


def test_a_full_disk_ends_a_run_that_resumes(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Checkpoint.write

    def full(checkpoint: Checkpoint, path: Path) -> None:
        if len(checkpoint.rows) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(checkpoint, path)

    with (
        monkeypatch.context() as patch,
        pytest.raises(RunError, match=r"epoch 2 can't be saved .*: No space left on d"),
    ):
        patch.setattr(Checkpoint, "write", full)
        train(make_spec(), tmp_path / "run")
    assert resume(tmp_path / "run").epochs == 4


def outcome(run: Path) -> tuple[Any, ...]:
    results = json.loads((run / "results.json").read_text())
    del results["seconds"]
    weights = {name: value.tolist() for name, value in load_file(run / "weights.safetensors").items()}
    return results, rows(run), weights


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no test writes to."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(read_spec(SPEC), run)
    return run


# What a run leaves behind


def test_the_files_of_a_finished_run(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert files == {
        *("spec.yaml", "lock.json", "metrics.csv", "checkpoints/last.ckpt", "weights.safetensors"),
        *("results.json", "samples.png", "loss.png"),
    }
    assert [path.name for path in finished.parent.iterdir()] == ["finished"]


def test_metrics_has_a_row_an_epoch(finished: Path) -> None:
    found = rows(finished)
    assert [(row["epoch"], row["step"]) for row in found] == [
        ("1", "5"),
        ("2", "10"),
        ("3", "15"),
        ("4", "20"),
    ]
    assert float(found[-1]["train"]) < float(found[0]["train"])


def test_results_are_those_of_the_weights(finished: Path) -> None:
    results = Results(**json.loads((finished / "results.json").read_text()))
    flow = Flow.load(finished)
    data = load_data(flow.to_spec())
    assert results.val == evaluate(flow, data["val"], 40)
    assert results.test == evaluate(flow, data["test"], 40)
    assert results.val == min(float(row["val"]) for row in rows(finished))
    assert (results.unit, results.epochs, results.weights) == ("nats", 4, "ema")
    assert results.parameters == sum(p.numel() for p in flow.parameters())


@pytest.mark.parametrize(("lost", "read"), [("weights.safetensors", Flow.load), ("results.json", read_results)])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "cut"])
def test_what_a_finished_run_has_lost_is_written_again(
    finished: Path, tmp_path: Path, no_pictures: None, lost: str, read: Callable[[Path], object], damage: Any
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    damage(run / lost)
    with pytest.raises(RunError, match=r"remove (it|results.json), and `flowkit train --resume.*` writes .* again"):
        read(run)
    (run / "results.json").unlink(missing_ok=True)
    resume(run)
    for name in ("weights.safetensors", "results.json"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()


def test_no_run_begins_where_its_weights_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"the directory of a run is .*, which isn't valid UTF-8: give it another name"
    ):
        train(read_spec(SPEC), tmp_path / "run\udcff")
    assert list(tmp_path.iterdir()) == []


def test_the_weights_are_the_average(finished: Path) -> None:
    checkpoint = load_file(finished / "checkpoints" / "last.ckpt")
    weights = load_file(finished / "weights.safetensors")  # the last epoch was the best
    assert all((weights[name] == checkpoint[f"average/{name}"]).all() for name in weights)
    assert any((weights[name] != checkpoint[f"weights/{name}"]).any() for name in weights)


def test_the_training_figure_is_the_mean_loss_of_the_steps(tmp_path: Path, make_spec: MakeSpec) -> None:
    """At a learning rate of next to nothing the flow stays as it was initialized."""
    spec = make_spec("train.epochs=1", "train.optimizer.lr=1e-12", "train.batch_size=220")
    train(spec, tmp_path / "run")
    expected = evaluate(Flow.load(tmp_path / "run"), load_data(spec)["train"], 220)
    assert float(rows(tmp_path / "run")[0]["train"]) == pytest.approx(expected, abs=1e-5)


def test_a_flow_without_parameters_is_refused_before_there_is_a_directory(tmp_path: Path) -> None:
    data = {"use": "data/toy", "name": "moons"}
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/permute"}], "data": data}
    with pytest.raises(InputError, match="there is nothing to train"):
        train(read_spec(spec), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_density_that_depends_on_no_parameter_is_a_mistake_of_the_spec(tmp_path: Path) -> None:
    """The phase of a circle has a parameter, and the uniform density doesn't depend on it."""
    np.save(tmp_path / "x.npy", np.linspace(0.01, 0.99, 20, dtype=np.float32)[:, None])
    event = {"shape": [1], "domain": {"circle": [0, 1]}}
    base, data = {"use": "base/uniform"}, {"use": "data/npy", "path": str(tmp_path / "x.npy")}
    spec = {"flowkit": 1, "event": event, "flow": [{"use": "map/phase"}], "base": base, "data": data}
    with pytest.raises(InputError, match="there is nothing to train: the density depends on no parameter"):
        train(read_spec(spec), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_pipe_gets_a_line_for_validated_epochs(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "spec.yaml").write_text(to_yaml(make_spec("train.validate_every=2", "train.epochs=3")))
    code = """if True:
        import sys, pathlib, flowkit.spec, flowkit.train
        flowkit.train.train(flowkit.spec.read_spec(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))
    """
    command = [sys.executable, "-c", code, str(tmp_path / "spec.yaml"), str(tmp_path / "run")]
    coloured = os.environ | {"FORCE_COLOR": "1"}  # which makes no terminal of a pipe
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=coloured)
    first, second, third = done.stdout.splitlines()
    assert re.fullmatch(r"epoch 1/3  train [\d.]+ nats  lr [\d.e-]+  0:00:\d\d left", first)
    assert "val" in second and "nats" in second
    assert "val" in third  # the last epoch is validated whatever validate_every says
    assert not done.stderr


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_of_all_steps(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr("flowkit.train.here.Console", lambda: console)
    with killed_at(7):
        train(make_spec(), tmp_path / "run")
    assert re.search(r"epoch 2/4 .* 7/20 .* train \d\.\d+  val \d\.\d+ nats", screen.getvalue())
    screen.truncate(0)
    resume(tmp_path / "run")
    last = re.findall(r"epoch .*", screen.getvalue())[-1]
    assert re.search(r"epoch 4/4 .* 20/20 .* val \d\.\d+ nats", last)


@pytest.mark.parametrize(("warmup", "warns"), [(20, True), (19, False)])
def test_a_warmup_of_the_whole_training_is_a_warning(
    tmp_path: Path, make_spec: MakeSpec, warmup: int, warns: bool
) -> None:
    spec = make_spec(f"train.warmup={warmup}")  # there are 4 epochs of 5 steps
    words = r"warmup: 20 steps, but this training has only 20.* set train\.warmup=2, or more train\.epochs"
    with pytest.warns(ScheduleWarning, match=words) if warns else contextlib.nullcontext():
        train(spec, tmp_path / "run")


# Kill and resume


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


WAYS = [
    (),
    (
        "train.ema=null",
        "train.validate_every=3",
        "train.warmup=7",
        "train.optimizer.name=sgd",
        "train.memory=reversible",
    ),
]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: ",".join(way) or "as it is")
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """A way to train, and what comes of it."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        train(read_spec(SPEC, request.param), run)
    return request.param, outcome(run)


def test_a_killed_and_resumed_run_gives_the_numbers_of_an_uninterrupted_one(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, uninterrupted: tuple[tuple[str, ...], tuple[Any, ...]]
) -> None:
    """It is killed at its first step, before there is a checkpoint, between two epochs, and within one."""
    overrides, expected = uninterrupted
    run = tmp_path / "killed"
    with killed_at(0):
        train(make_spec(*overrides), run)
    for step in (3, 10, 17):
        with killed_at(step):
            resume(run)
        assert len(rows(run)) == step // 5
    resume(run)
    assert outcome(run) == expected


def test_rows_behind_the_checkpoint_are_dropped(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    run = tmp_path / "run"
    with killed_at(12):
        train(make_spec(), run)
    with (run / "metrics.csv").open("a") as file:
        file.write("3,15,0.1,9.0,9.0,1.0\n")
    with killed_at(12):
        resume(run)
    assert [row["epoch"] for row in rows(run)] == ["1", "2"]


def test_a_run_killed_behind_its_last_epoch_only_has_to_be_finished(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, killed_at: Any
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("flowkit.flow.Flow.save", lambda self, path: 1 / 0)
        train(make_spec(), run)
    before = (run / "metrics.csv").read_text()
    resume(run)
    assert (run / "metrics.csv").read_text() == before and (run / "results.json").exists()


def test_a_run_is_finished_without_a_picture_that_cannot_be_drawn(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise InputError("not enough memory")

    monkeypatch.setattr("flowkit.train.pictures.draw_samples", fail)
    with pytest.warns(PictureWarning, match=r"^samples\.png can't be drawn: InputError: not enough memory$"):
        train(make_spec("train.epochs=1"), tmp_path / "run")
    assert (tmp_path / "run" / "results.json").exists()


def test_a_run_resumes_from_another_working_directory(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("events.npy", np.random.default_rng(0).normal(size=(100, 2)))
    with killed_at(2):
        train(make_spec("data={use: data/npy, path: events.npy}"), Path("run"))
    monkeypatch.chdir("/")
    assert resume(tmp_path / "run").epochs == 4


class Pair(NamedTuple):
    number: int
    file: Path


class Place(PluginConfig):
    file: Path
    rest: Pair | None = None


class ShardsConfig(DatasetConfig):
    paths: list[Path]
    named: dict[str, set[Path]]
    place: Place
    inner: DatasetRef
    text: str = "events.npy"


class Shards(Dataset):
    def __init__(self, **fields: Any):
        self.__dict__ |= fields

    def load(self, split: Any) -> Arrays:
        return Arrays(np.zeros((4, 2), np.float32))


def test_paths_however_deep_in_a_config_do_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowkit.register("mine/shards", ShardsConfig, Shards)
    monkeypatch.chdir(tmp_path)
    fields = {
        "paths": ["a.npy", "/b.npy"],
        "named": {"more": ["c.npy"]},
        "place": {"file": "d.npy", "rest": [1, "e.npy"]},
        "inner": {"use": "data/npy", "path": "f.npy"},
    }
    spec = with_absolute_paths(read_spec(SPEC | {"data": {"use": "mine/shards", **fields}}))
    assert read_spec(to_yaml(spec)).data.dump() == {
        "use": "mine/shards",
        "paths": [f"{tmp_path}/a.npy", "/b.npy"],
        "named": {"more": [f"{tmp_path}/c.npy"]},
        "place": {"file": f"{tmp_path}/d.npy", "rest": [1, f"{tmp_path}/e.npy"]},
        "inner": {"use": "data/npy", "path": f"{tmp_path}/f.npy", "fractions": [0.8, 0.1, 0.1]},
        "text": "events.npy",
    }


@pytest.mark.parametrize("moment", ["train", "validate"])
def test_ctrl_c_leaves_a_run_that_resumes_and_python_as_it_was(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, moment, interrupt)
        train(make_spec(), tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is handler
    assert resume(tmp_path / "run").epochs == 4


def test_a_damaged_checkpoint_is_named(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    with killed_at(7):
        train(make_spec(), tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"last\.ckpt can't be read .*: remove it"):
        resume(tmp_path / "run")
    file.unlink()
    assert resume(tmp_path / "run").epochs == 4


def test_a_checkpoint_without_permission_is_kept_and_named(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with killed_at(7):
        train(make_spec(), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("flowkit.flow.saving.open_file", refused)
        with pytest.raises(RunError, match=r"checkpoints/last\.ckpt can't be read: Permission denied$"):
            resume(tmp_path / "run")
    assert resume(tmp_path / "run").epochs == 4


def test_a_folder_in_the_place_of_a_checkpoint_is_named(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    with killed_at(7):
        train(make_spec(), tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.unlink()
    file.mkdir()
    with pytest.raises(RunError, match=r"checkpoints/last\.ckpt can't be read: Is a directory$"):
        resume(tmp_path / "run")


# One process at a time


@contextlib.contextmanager
def taken(run: Path) -> Iterator[None]:
    """Another process has locked the run, as `train` and `resume` do, and waits; it is killed at the end."""
    code = """if True:
        import sys, time, pathlib
        from flowkit_runtime.atomic import locked
        with locked(pathlib.Path(sys.argv[1])):
            print("here", flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-c", code, str(run / TRAINING)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


def test_a_run_that_another_process_trains_is_left_alone_until_that_is_dead(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    run = tmp_path / "run"
    with killed_at(7):
        train(make_spec(), run)
    with taken(run):
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(RunError, match=f"{run} is being trained by another process: wait"):
            resume(run)
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert resume(run).epochs == 4
    assert not list(run.rglob(".*"))


def test_a_new_run_is_not_resumed_while_it_is_trained(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def resumed(*_: Any) -> None:
        with pytest.raises(RunError, match="is being trained by another process"):
            resume(tmp_path / "run")
        refused.append(True)

    monkeypatch.setattr(Fitting, "end_epoch", resumed)
    train(make_spec("train.epochs=1"), tmp_path / "run")
    assert refused == [True] and not list((tmp_path / "run").rglob(".*"))


def test_runs_are_trained_where_files_cannot_be_locked(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, no_locks: None
) -> None:
    with killed_at(7):
        train(make_spec(), tmp_path / "run")
    assert resume(tmp_path / "run").epochs == 4
    assert not list((tmp_path / "run").rglob(".*"))


# What is refused


def test_a_finished_run_is_not_resumed(finished: Path) -> None:
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        resume(finished)


@pytest.mark.parametrize("files", [(), ("spec.yaml",), ("lock.json",)])
def test_what_is_no_run_is_not_resumed(tmp_path: Path, files: tuple[str, ...]) -> None:
    for file in files:
        (tmp_path / file).write_text("{}")
    with pytest.raises(RunError, match="is not a run"):
        resume(tmp_path)
    with pytest.raises(RunError, match="is not a run"):
        resume(tmp_path / "nowhere")


def test_a_directory_in_use_is_left_alone(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="exists and is not empty"):
        train(make_spec(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="exists and is not empty"):
        train(make_spec(), tmp_path / "thesis.tex")


def test_a_circular_link_is_no_directory(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "run").symlink_to("run")
    with pytest.raises(InputError, match="the directory of a run is a link that leads to itself"):
        train(make_spec(), tmp_path / "run")


def test_bad_data_leaves_no_directory(tmp_path: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(DataError):
        train(make_spec("event.levels=4"), tmp_path / "runs" / "run")
    assert not list(tmp_path.iterdir())


def test_a_directory_appears_whole_or_not_at_all(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(spec: Spec) -> dict[str, Any]:
        raise OSError("no space left")

    monkeypatch.setattr("flowkit.train.directory.lock", fail)
    with pytest.raises(RunError, match="no space left"):
        train(make_spec(), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_removed_ends_the_training(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "validate", lambda *_: shutil.rmtree(tmp_path / "run"))
    with pytest.raises(TrainingError, match=r"run was removed while the flow was trained"):
        train(make_spec(), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_evaluate_and_sample_do_not_wait_for_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("flowkit.train.pictures")
    monkeypatch.setattr(flowkit, "train", flowkit.train)  # to be put back
    for name in [name for name in sys.modules if name.startswith("flowkit.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # whoever imports it fails
    importlib.import_module("flowkit.train.pictures")


def test_without_lightning_the_extra_is_named(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowkit.train.runs.find_spec", lambda name: None)
    with pytest.raises(FlowkitError, match=r"pip install '.\[train\]', in a clone"):
        train(make_spec(), tmp_path / "run")
    assert not list(tmp_path.iterdir())


# The best epoch, and patience


def script(monkeypatch: pytest.MonkeyPatch, figures: list[float]) -> None:
    """Validation gives these figures, epoch by epoch."""
    remaining = list(figures)
    monkeypatch.setattr("flowkit.train.fit.evaluate", lambda *_: remaining.pop(0))


def test_training_stops_when_patience_is_lost(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, [3.0, 2.0, 2.5, 1.9, 2.0, 1.95])
    results = train(make_spec("train.epochs=9", "train.patience=2"), tmp_path / "run")
    assert (results.epochs, results.best_epoch, results.val) == (6, 4, 1.9)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "stopped after epoch 6: no better validation since epoch 4 (train.patience: 2)"


def test_a_run_that_was_to_stop_does_not_go_on_when_resumed(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [2.0, 3.0])
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("flowkit.flow.Flow.save", lambda self, path: 1 / 0)
        train(make_spec("train.epochs=9", "train.patience=1"), tmp_path / "run")
    assert resume(tmp_path / "run").epochs == 2


def test_the_weights_are_those_of_the_best_epoch(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant learning rate makes the run of one epoch the beginning of the run of three."""
    overrides = ("train.schedule=constant",)
    train(make_spec(*overrides, "train.epochs=1"), tmp_path / "one")
    script(monkeypatch, [1.0, 2.0, 3.0])
    train(make_spec(*overrides, "train.epochs=3"), tmp_path / "three")
    one, three = (load_file(tmp_path / run / "weights.safetensors") for run in ("one", "three"))
    assert all((one[name] == three[name]).all() for name in one)


# Initialization


def test_initialization_sees_a_training_batch_once(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    initialize = Flow.initialize

    def spy(self: Flow, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        seen.append(x)
        initialize(self, x, context)

    monkeypatch.setattr(Flow, "initialize", spy)
    spec = make_spec()
    with killed_at(8):
        train(spec, tmp_path / "run")
    resume(tmp_path / "run")
    flow = Flow.load(tmp_path / "run")
    evaluate(flow, load_data(spec)["val"], 40)
    (batch,) = seen
    training = load_data(spec)["train"].x
    assert len(batch) == 40 and all((training == row).all(1).any() for row in batch.numpy())
    assert flow.initialized


def test_initialization_runs_on_the_device_that_trains(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("to", "initialize"):
        original = getattr(Flow, name)
        monkeypatch.setattr(
            Flow, name, lambda *given, f=original, n=name, **named: calls.append(n) or f(*given, **named)
        )
    train(make_spec("train.epochs=1"), tmp_path / "run")
    assert calls[:2] == ["to", "initialize"]


def test_seeds_give_the_same_run_or_another(tmp_path: Path, make_spec: MakeSpec) -> None:
    specs = [
        make_spec("train.epochs=1"),
        make_spec("train.epochs=1"),
        make_spec("train.epochs=1", "train.seed=1"),
    ]
    same, again, other = (train(spec, tmp_path / str(number)).val for number, spec in enumerate(specs))
    assert same == again != other


@pytest.mark.parametrize("memory", ["store", "checkpoint", "reversible"])
def test_the_spec_decides_the_memory_strategy(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    seen = set()
    monkeypatch.setattr(Fitting, "end_epoch", lambda self: seen.add(self.flow.memory))
    train(make_spec("train.epochs=1", f"train.memory={memory}"), tmp_path / "run")
    assert seen == {memory}


# Compiled training


def test_the_spec_decides_whether_the_flow_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_flow = Flow.compile
    monkeypatch.setattr(Flow, "compile", lambda flow, scope: compile_flow(flow, scope, backend="eager"))
    spec, settings = SPEC | {"flow": SMALL["flow"]}, ("train.epochs=2", "train.ema=0.9")
    plain = train(read_spec(spec, settings), tmp_path / "plain")
    counters.clear()
    compiled = train(read_spec(spec, [*settings, "train.compile=true"]), tmp_path / "compiled")
    assert counters["stats"]["unique_graphs"] == 1  # of the training steps; all else is done by plain copies
    assert compiled.test == pytest.approx(plain.test, rel=1e-5)


def test_a_missing_compiler_is_seen_before_there_is_a_run(tmp_path: Path, make_spec: MakeSpec) -> None:
    with inductor.patch("cpp.cxx", (None, "no-such-compiler")), pytest.raises(FlowkitError, match=r"no C\+\+ compiler"):
        train(make_spec("train.compile=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# The drift of reversible training


def test_the_drift_of_each_epoch_is_recorded_and_shown(
    tmp_path: Path, make_spec: MakeSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make_spec("train.memory=reversible", "train.epochs=2"), tmp_path / "reversible")
    assert all(0 < float(row["drift"]) < 1e-5 for row in rows(tmp_path / "reversible"))
    assert re.search(r"val \d\.\d+ nats  drift \d\.\de-0[678]  lr", capsys.readouterr().out)
    train(make_spec("train.epochs=1"), tmp_path / "store")
    assert rows(tmp_path / "store")[0]["drift"] == ""
    assert "drift" not in capsys.readouterr().out


def test_drift_beyond_the_limit_is_warned_of_once_before_the_step_is_taken(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    drifts = iter([9e-5, 2e-4, math.inf, *[1e-4] * 17])
    monkeypatch.setattr("flowkit.bijectors.memory.Drift.read", lambda self: next(drifts))
    with pytest.warns(DriftWarning) as caught:
        train(make_spec("train.memory=reversible"), tmp_path / "run")
    (warning,) = [str(each.message) for each in caught if each.category is DriftWarning]
    assert re.search(r"step 1: .* error of 2\.0e-04, .* memory: checkpoint", warning)
    assert [row["drift"] for row in rows(tmp_path / "run")] == ["inf", *["0.0001"] * 3]


def test_bf16_takes_more_drift(tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    drifts = iter([1e-9, 5e-3, 2e-2, *[1e-4] * 17])
    monkeypatch.setattr("flowkit.bijectors.memory.Drift.read", lambda self: next(drifts))
    with pytest.warns(DriftWarning, match="step 2: .* beyond 1e-02"):
        train(make_spec("train.memory=reversible", "train.precision=bf16"), tmp_path / "run")


def test_a_run_with_an_infinite_drift_resumes(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, killed_at: Any
) -> None:
    monkeypatch.setattr("flowkit.bijectors.memory.Drift.read", lambda self: math.inf)
    with pytest.warns(DriftWarning), killed_at(7):
        train(make_spec("train.memory=reversible"), tmp_path / "run")
    with pytest.warns(DriftWarning):
        assert resume(tmp_path / "run").epochs == 4
