"""How long a run is trained: finished early, another number of epochs on resume, a budget of time."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import RunError, SpecError
from flowkit.flow import Flow
from flowkit.spec import Spec, read_spec, to_yaml
from flowkit.train import evaluate, load_run_data, read_results, resume, train
from flowkit.train.optimizer import learning_rate_factor
from tests.train.conftest import SPEC

MakeSpec = Callable[..., Spec]

pytestmark = pytest.mark.usefixtures("no_pictures")


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


def spec_of(run: Path) -> Spec:
    return read_spec(run / "spec.yaml")


# Finishing early


def test_an_interrupted_run_is_finished_with_the_best_weights_so_far(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    run = tmp_path / "run"
    with killed_at(17):
        train(make_spec(), run)
    with pytest.raises(RunError, match=f"`flowkit train --resume {run}` goes on with it, and with `--finish`"):
        Flow.load(run)
    before = (run / "metrics.csv").read_text()
    results = resume(run, finish=True)
    assert (results.epochs, results.best_epoch) == (3, 3)
    assert (run / "metrics.csv").read_text() == before
    flow = Flow.load(run)
    assert results.val == evaluate(flow, load_run_data(run, spec_of(run))["val"], 40)
    best = load_file(run / "checkpoints" / "last.ckpt")
    assert all((value == best[f"best/{name}"]).all() for name, value in flow.state_dict().items())
    assert read_results(run) == results


@pytest.mark.parametrize(("step", "validated"), [(12, 2), (17, 3)])
def test_finishing_validates_the_last_epoch_as_a_finished_run_does(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, step: int, validated: int
) -> None:
    run = tmp_path / "run"
    with killed_at(step):
        train(make_spec("train.validate_every=2"), run)
    results = resume(run, finish=True)
    assert (results.epochs, results.best_epoch) == (step // 5, validated)
    assert rows(run)[-1]["val"] == str(results.val)
    with killed_at(18 if step == 17 else 13):  # it can go on from there
        resume(run, ["train.epochs=4"])
    assert rows(run)[-1]["val"] == str(results.val)


def test_without_a_whole_epoch_there_is_nothing_to_finish_with(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    run, spec = str(tmp_path / "run"), tmp_path / "spec.yaml"  # a path may be a text
    spec.write_text(to_yaml(make_spec()))
    with killed_at(3):
        train(spec, run)
    with pytest.raises(RunError, match=r"has no whole epoch yet.*--resume"):
        resume(run, ["train.epochs=9"], finish=True)
    assert resume(run).epochs == 4


# Another number of epochs


def factors(run: Path) -> list[float]:
    return [float(row["lr"]) / 0.01 for row in rows(run)]


def cosine(step: int, total: int) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * step / total)


@pytest.mark.parametrize("epochs", [3, 6])
def test_a_resumed_run_may_be_shorter_or_longer(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, epochs: int
) -> None:
    run = tmp_path / "run"
    with killed_at(12):
        train(make_spec(), run)
    assert resume(run, [f"train.epochs={epochs}"]).epochs == epochs
    before = [cosine(5 * epoch - 1, 20) for epoch in (1, 2)]
    after = [cosine(5 * epoch - 1, 5 * epochs) for epoch in range(3, epochs + 1)]
    assert factors(run) == pytest.approx(before + after)
    assert spec_of(run).train.epochs == epochs
    Flow.load(run)


def test_with_a_constant_rate_a_longer_run_is_the_one_that_was_so_long_from_the_start(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    train(make_spec("train.schedule=constant", "train.epochs=6"), tmp_path / "whole")
    with killed_at(12):
        train(make_spec("train.schedule=constant"), tmp_path / "run")
    resume(tmp_path / "run", ["train.epochs=6"])
    whole, run = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "run"))
    assert all((whole[name] == run[name]).all() for name in whole)


def test_another_number_of_epochs_may_be_written_into_the_spec(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    run = tmp_path / "run"
    with killed_at(12):
        train(make_spec(), run)
    (run / "spec.yaml").write_text(to_yaml(read_spec(run / "spec.yaml", ["train.epochs=3"])))
    assert resume(run).epochs == 3
    assert json.loads((run / "lock.json").read_text())["spec"]["train"]["epochs"] == 3


def test_fewer_epochs_than_there_are_is_refused(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    run = tmp_path / "run"
    with killed_at(17):
        train(make_spec(), run)
    with pytest.raises(
        RunError, match=r"has 3 epochs behind it, more than train\.epochs: 2: set 3 or more; .*--finish"
    ):
        resume(run, ["train.epochs=2"])
    assert spec_of(run).train.epochs == 4
    assert resume(run, ["train.epochs=3"]).epochs == 3


def test_a_finished_run_is_trained_for_longer(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    run = tmp_path / "run"
    train(make_spec("train.epochs=2"), run)
    with pytest.raises(RunError, match=r"is finished: .* --set train\.epochs=N` trains it for longer"):
        resume(run)
    with killed_at(12):
        resume(run, ["train.epochs=4"])
    with pytest.raises(RunError, match="is not finished"):
        Flow.load(run)
    assert resume(run).epochs == 4


@pytest.mark.parametrize(
    ("settings", "overrides", "reason"),
    [
        ((), ["train.epochs=4"], "train.epochs: 4 are done"),
        ((), ["train.epochs=9", "train.minutes=1e-9"], "train.minutes: 1e-09 are used up"),
        (("train.patience=1",), ["train.epochs=9"], r"no better validation since epoch 1 \(train.patience: 1\)"),
    ],
)
def test_a_finished_run_with_nothing_left_to_train_is_left_alone(
    tmp_path: Path,
    make_spec: MakeSpec,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    overrides: list[str],
    reason: str,
) -> None:
    run = tmp_path / "run"
    figures = itertools.count(1.0)
    with monkeypatch.context() as patch:
        patch.setattr("flowkit.train.fit.evaluate", lambda *_: next(figures))  # worse each time
        train(make_spec(*settings), run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=f"nothing left to train: {reason}; set this field higher"):
        resume(run, overrides)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_finished_run_without_its_checkpoint_is_left_alone(tmp_path: Path, make_spec: MakeSpec) -> None:
    run = tmp_path / "run"
    train(make_spec("train.epochs=2"), run)
    (run / "checkpoints" / "last.ckpt").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for finish in (False, True):
        with pytest.raises(RunError, match=r"is finished, and its checkpoints/last\.ckpt is gone, .*edit `data`"):
            resume(run, ["train.epochs=4"], finish=finish)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_with_more_epochs_than_its_spec_says_can_be_finished(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any
) -> None:
    run = tmp_path / "run"
    with killed_at(12):
        train(make_spec(), run)
    (run / "spec.yaml").write_text(to_yaml(read_spec(run / "spec.yaml", ["train.epochs=1"])))
    with pytest.raises(RunError, match=r"has 2 epochs behind it, more than train\.epochs: 1: .*--finish` finishes it"):
        resume(run)
    assert resume(run, finish=True).epochs == 2


def test_more_patience_trains_a_finished_run_for_longer(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = itertools.count(1.0)
    monkeypatch.setattr("flowkit.train.fit.evaluate", lambda *_, **__: next(figures))  # worse each time
    assert train(make_spec("train.patience=1", "train.epochs=9"), tmp_path / "run").epochs == 2
    assert resume(tmp_path / "run", ["train.patience=3"]).epochs == 4


# A budget of time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many seconds pass each time that the clock is read."""

    def set_pace(seconds: float) -> None:
        ticks = itertools.count()
        monkeypatch.setattr("flowkit.train.step.time.perf_counter", lambda: seconds * next(ticks))

    return set_pace


def test_a_run_finishes_when_its_minutes_are_used_up(
    tmp_path: Path, make_spec: MakeSpec, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(0.8)
    run = tmp_path / "run"
    results = train(make_spec("train.epochs=null", "train.minutes=0.5"), run)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"stopped after epoch {results.epochs}: train.minutes: 0.5 are used up"
    found = rows(run)
    assert 30 <= results.seconds <= 35
    assert int(found[-1]["step"]) % 5, "the last epoch wasn't cut short: choose another pace"
    assert found[-1]["val"] and results.epochs == len(found) > 1
    assert factors(run) == sorted(factors(run), reverse=True) and factors(run)[-1] < 0.05
    Flow.load(run)


def test_a_resumed_run_counts_the_time_already_used(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, clock: Callable[[float], None]
) -> None:
    clock(1)
    run = tmp_path / "run"
    with killed_at(9):
        train(make_spec("train.epochs=null", "train.minutes=0.5"), run)
    used = float(rows(run)[0]["seconds"])
    assert used > 5
    assert 30 <= resume(run).seconds <= 35
    first, second, *_ = rows(run)
    assert float(first["seconds"]) == used and float(second["lr"]) < float(first["lr"])


def test_more_minutes_go_on_behind_an_epoch_that_was_cut_short(
    tmp_path: Path, make_spec: MakeSpec, clock: Callable[[float], None]
) -> None:
    clock(1)
    run = tmp_path / "run"
    short = train(make_spec("train.epochs=null", "train.minutes=0.5"), run)
    long = resume(run, ["train.minutes=1"])
    assert 60 <= long.seconds <= 65 and long.epochs > short.epochs
    assert spec_of(run).train.minutes == 1
    steps = [0, *(int(row["step"]) for row in rows(run))]
    assert all(0 < after - before <= 5 for before, after in itertools.pairwise(steps))


def test_a_run_whose_minutes_are_used_up_trains_no_more(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, clock: Callable[[float], None]
) -> None:
    clock(1)
    run = tmp_path / "run"
    with killed_at(17):
        train(make_spec("train.epochs=9", "train.minutes=1", "train.validate_every=2"), run)
    assert resume(run, ["train.minutes=0.1"]).epochs == 3
    assert all(rows(run)[index]["val"] for index in (1, 2))


def test_an_epoch_behind_which_the_minutes_are_used_up_is_validated(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time may run out after the last look at the clock within the epoch."""
    monkeypatch.setattr("flowkit.train.fit.ended", lambda settings, rows: len(rows) == 3)
    run = tmp_path / "run"
    results = train(make_spec("train.minutes=1000", "train.validate_every=2"), run)
    assert [bool(row["val"]) for row in rows(run)] == [False, True, True]
    assert results.val == min(float(row["val"]) for row in rows(run)[1:])


def test_epochs_end_a_run_before_its_minutes(tmp_path: Path, make_spec: MakeSpec) -> None:
    run = tmp_path / "run"
    train(make_spec("train.minutes=1000"), run)
    assert factors(run) == pytest.approx([cosine(5 * epoch - 1, 20) for epoch in (1, 2, 3, 4)], abs=1e-4)


def test_the_rate_follows_whichever_ends_first() -> None:
    assert learning_rate_factor(50, 100, 0, "cosine", 0.2) == pytest.approx(0.5)
    assert learning_rate_factor(50, 100, 0, "cosine", 0.75) == pytest.approx(cosine(3, 4))
    assert learning_rate_factor(50, math.inf, 0, "cosine", 0.25) == pytest.approx(cosine(1, 4))
    assert learning_rate_factor(50, math.inf, 0, "constant", 0.25) == 1
    assert learning_rate_factor(1, math.inf, 3, "cosine", 0.5) == 0.5


def test_minutes_leave_the_epochs_open_unless_they_are_given(make_spec: MakeSpec) -> None:
    assert read_spec(SPEC | {"train": {"minutes": 5}}).train.epochs is None
    assert read_spec(SPEC | {"train": {"minutes": 5, "epochs": 3}}).train.epochs == 3
    assert read_spec(SPEC | {"train": {"minutes": None}}).train.epochs == 10
    with pytest.raises(SpecError, match="train: never ends with epochs: null; give epochs, minutes or both"):
        make_spec("train.epochs=null")
    with pytest.raises(SpecError, match="minutes"):
        make_spec("train.minutes=0")


# On the command line


def flowkit(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_finishes_early_and_trains_for_longer(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    run = tmp_path / "run"
    with killed_at(12):
        train(make_spec(), run)
    refused = flowkit("sample", run, "-o", tmp_path / "x.npy")
    assert refused.exit_code == 2 and "with `--finish` finishes it now" in refused.stderr
    assert flowkit("train", "--resume", run, "--set", "train.optimizer.lr=1").exit_code == 2
    assert flowkit("train", "--resume", run, "--finish").exit_code == 0
    assert read_results(run).epochs == 2
    assert flowkit("sample", run, "-o", tmp_path / "x.npy").exit_code == 0
    assert flowkit("train", "--resume", run, "--set", "train.epochs=3").exit_code == 0
    assert read_results(run).epochs == 3


def test_finish_needs_a_run(tmp_path: Path) -> None:
    result = flowkit("train", "spec.yaml", "--finish")
    assert result.exit_code == 2 and "give it with --resume RUN" in " ".join(result.stderr.replace("│", " ").split())
