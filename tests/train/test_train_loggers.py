"""Metrics that go to an experiment tracker."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowkit
from flowkit.errors import FlowkitError, InputError, LoggerWarning
from flowkit.spec import Spec
from flowkit.train import resume, train
from flowkit.train.loggers import _TRACKERS, _database, _Tracker

MakeSpec = Callable[..., Spec]

pytestmark = pytest.mark.usefixtures("no_pictures")


def run_and_resume(spec: Spec, run: Path, killed_at: Any) -> None:
    with killed_at(12):
        train(spec, run)
    resume(run)


@pytest.mark.slow
def test_tensorboard(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run_and_resume(make_spec("train.logger=tensorboard", "train.validate_every=2"), tmp_path / "run", killed_at)
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train")] == [5, 10, 15, 20]
    assert [event.step for event in events.Scalars("val")] == [10, 20]


@pytest.mark.slow
def test_mlflow_goes_on_with_the_run_that_was_interrupted(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_and_resume(make_spec("train.logger=mlflow"), tmp_path / "run", killed_at)
    resume(tmp_path / "run", ["train.epochs=5"])
    with sqlite3.connect(tmp_path / "run" / "mlflow.db") as database:
        metrics = database.execute("select run_uuid, step from metrics where key = 'val' order by step").fetchall()
        runs = database.execute("select run_uuid, status from runs").fetchall()
        sizes = database.execute("select value from params where key = 'train.batch_size'").fetchall()
    identifier = json.loads((tmp_path / "run" / "tracked.json").read_text())["mlflow"]
    assert runs == [(identifier, "FINISHED")] and sizes == [("40",)]
    assert metrics == [(identifier, step) for step in (5, 10, 15, 20, 25)]


@pytest.mark.slow
def test_the_path_of_a_database_may_have_any_characters(tmp_path: Path) -> None:
    client = pytest.importorskip("mlflow.tracking").MlflowClient
    directory = tmp_path / "lr 50%20?a#b"
    directory.mkdir()
    client(_database(directory / "mlflow.db")).create_experiment("any")
    assert (directory / "mlflow.db").is_file() and list(tmp_path.iterdir()) == [directory]


def test_a_row_that_is_validated_later_is_logged_once(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, str]] = []
    tracker = _Tracker(lambda figures, step: sent.extend((step, name) for name in figures), lambda succeeded: None)
    monkeypatch.setitem(_TRACKERS, "mlflow", lambda *_: tracker)
    monkeypatch.setattr("flowkit.train.loggers.find_spec", lambda name: name)
    with killed_at(12):
        train(make_spec("train.logger=mlflow", "train.validate_every=3"), tmp_path / "run")
    assert (10, "train") in sent and (10, "val") not in sent
    resume(tmp_path / "run", ["train.epochs=2"])
    assert (10, "val") in sent and len(set(sent)) == len(sent)


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, make_spec: MakeSpec, killed_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_and_resume(make_spec("train.logger=wandb"), tmp_path / "run", killed_at)
    identifier = json.loads((tmp_path / "run" / "tracked.json").read_text())["wandb"]
    assert len(list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{identifier}"))) in (1, 2)


def test_a_logger_that_is_not_installed_is_named_before_there_is_a_run(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowkit.train.loggers.find_spec", lambda name: None)
    with pytest.raises(FlowkitError, match=r"train.logger: mlflow needs mlflow: `pip install mlflow`, or leave"):
        train(make_spec("train.logger=mlflow"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_fails_ends_no_training(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setitem(_TRACKERS, "mlflow", lambda *_: _Tracker(log=down, end=down))
    monkeypatch.setattr("flowkit.train.loggers.find_spec", lambda name: name)
    with pytest.warns(LoggerWarning, match=r"train.logger: mlflow fails: ConnectionError: nobody answers; the run"):
        results = train(make_spec("train.logger=mlflow"), tmp_path / "run")
    assert results.epochs == 4


def test_a_tracker_that_cannot_be_reached_leaves_a_finished_run_as_it_is(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise ConnectionError("nobody answers")

    run = tmp_path / "run"
    train(make_spec("train.epochs=1"), run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    monkeypatch.setitem(_TRACKERS, "mlflow", down)
    monkeypatch.setattr("flowkit.train.loggers.find_spec", lambda name: name)
    with pytest.raises(FlowkitError, match=r"train.logger: mlflow can't be used: nobody answers"):
        resume(run, ["train.epochs=2", "train.logger=mlflow"])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_fit_has_no_logger(make_spec: MakeSpec) -> None:
    with pytest.raises(InputError, match=r"train.logger: wandb is for runs: the history"):
        flowkit.fit([[0.0], [1.0], [2.0]] * 9, logger="wandb")
