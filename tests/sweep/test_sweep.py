"""Whole sweeps: killed and resumed, pruned, with trials that fail and processes that die."""

from __future__ import annotations

import contextlib
import csv
import errno
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import DataWarning, RunError
from flowkit.spec import read_spec, to_yaml
from flowkit.sweep.pool import Pool, Worker
from flowkit.sweep.study import DEFAULT_TRIALS, Study, create_sweep, open_sweep
from flowkit.sweep.worker import Epoch, TrialOrder, TrialOutcome, choose_gpu, train_trials
from tests.extent import extent, nightly
from tests.train.conftest import SPEC, leave_out_pictures

SPACE = """\
train.optimizer.lr: {low: 1.0e-4, high: 0.1, log: true}
train.batch_size: {low: 0, high: 60}
flow[1].repeat: {choices: [1, 2]}
"""


def table(directory: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((directory / "trials.csv").open()))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "spec.yaml").write_text(to_yaml(read_spec(SPEC)))
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path / "spec.yaml", tmp_path / "space.yaml"


def states(directory: Path) -> list[str]:
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{directory}/study.db")
    return [trial.state.name for trial in study.trials]


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are threads of this process, because others would import torch for seconds."""
    threads = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Thread)
    monkeypatch.setattr("flowkit.sweep.pool.multiprocessing", SimpleNamespace(get_context=lambda _: threads))
    monkeypatch.setattr("flowkit.sweep.worker.end_with_the_parent", lambda: None)
    leave_out_pictures(monkeypatch)


class Thread(threading.Thread):
    """A worker. Like a process it has its own copy of the connection, which the sweep closes."""

    def __init__(self, target: Callable[..., None], args: tuple[Connection, Path, int]) -> None:
        super().__init__(target=target, args=(Connection(os.dup(args[0].fileno())), *args[1:]))

    def terminate(self) -> None:
        """It ends with its connection."""

    def kill(self) -> None:
        """It has ended with its connection."""
        assert not self.is_alive()


@pytest.mark.slow
@pytest.mark.usefixtures("in_threads")
def test_a_sweep_that_is_killed(tmp_path: Path, files: tuple[Path, Path]) -> None:
    trials, directory = extent(4, 30), tmp_path / "sweep"
    flowkit = str(Path(sys.executable).with_name("flowkit"))
    begin = [flowkit, "sweep", *files[:1], "--space", files[1], "-o", directory, "--workers", "2"]
    begin += ["--trials", str(trials)]
    go_on = [flowkit, "sweep", "--resume", directory, "--workers", "2"]
    for command, least in extent([(begin, 1)], [(begin, 1), (go_on, trials // 2)]):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line.split("/")[0]) >= least:
                break
        time.sleep(0.3)  # within trials
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        process.kill()
        process.wait()
        assert "RUNNING" in states(directory)
        end = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{child}") for child in children) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(os.path.exists(f"/proc/{child}") for child in children)
    done = CliRunner().invoke(app, ["sweep", "--resume", str(directory)])
    assert done.exit_code == 0 and f"{trials} trials, " in done.output, done.output
    rows = table(directory)
    assert [row["trial"] for row in rows] == [str(number) for number in range(trials)]
    assert {row["state"] for row in rows} <= {"complete", "pruned", "fail"}
    assert len({tuple(list(row.values())[5:8]) for row in rows}) == trials  # no values twice
    assert sorted(path.name for path in (directory / "trials").iterdir()) == [
        f"{int(row['trial']):04d}" for row in rows if row["state"] != "fail"
    ]
    for run in (directory / "trials").iterdir():
        epochs = [row["epoch"] for row in csv.DictReader((run / "metrics.csv").open())]
        assert epochs == [str(epoch + 1) for epoch in range(len(epochs))]
    best = min((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["val"]))
    spec = read_spec(directory / "best.yaml")
    assert spec.train.batch_size == int(best["train.batch_size"])
    assert subprocess.run([flowkit, "validate", directory / "best.yaml"]).returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("in_threads")
def test_a_sweep_in_this_process(tmp_path: Path, files: tuple[Path, Path]) -> None:
    """Values that make the spec invalid fail with the reason; a sweep may be made longer."""
    (tmp_path / "space.yaml").write_text("train.batch_size: {choices: [0, 40, 50]}\n")
    arguments = ["sweep", str(files[0]), "--space", str(files[1]), "-o", str(tmp_path / "sweep"), "--trials", "6"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "sweep")
    assert len(rows) == 6
    failures = {row["failure"] for row in rows if row["train.batch_size"] == "0"}
    assert len(failures) == 1 and "train.batch_size: must be greater than 0, not 0" in failures.pop()
    assert {row["state"] for row in rows if row["train.batch_size"] == "0"} == {"fail"}
    assert "6 trials, " in result.output and (tmp_path / "sweep" / "sweep.png").exists()
    longer = CliRunner().invoke(app, ["sweep", "--resume", str(tmp_path / "sweep"), "--trials", "7"])
    assert longer.exit_code == 0 and "7/7  trial 6" in longer.output
    again = CliRunner().invoke(app, ["sweep", "--resume", str(tmp_path / "sweep")])
    assert again.exit_code == 0 and "7 trials" in again.output and "trial 7" not in again.output


def fake_work(connection: Any, spec: Path, place: int) -> None:
    """Score a trial by its learning rate. The first time, trial 1 kills its process; trial 2 always does."""
    while True:
        try:
            order: TrialOrder = connection.recv()
        except EOFError:
            return
        number, flag = int(order.run.name), order.run.with_suffix(".begun")
        if number == 2 or (number == 1 and not flag.exists()):
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        lr = float(order.overrides[0].partition("=")[2])
        for epoch in (1, 2, 3):
            connection.send(Epoch(epoch, lr))
            if connection.recv():
                break
        connection.send(TrialOutcome() if epoch < 3 else TrialOutcome(lr))


@nightly
@pytest.mark.slow
def test_a_trial_whose_process_dies_is_run_again_once(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowkit.sweep.pool.train_trials", fake_work)
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    ended: list[int] = []
    with open_sweep(tmp_path / "sweep", 8) as study:
        Pool(study, 2, ended.append).run()
        assert sorted(ended) == list(range(8))
        assert study.trials[1].state.name in ("COMPLETE", "PRUNED")
        assert study.trials[2].user_attrs["failure"] == "its process was killed by SIGKILL, twice"
        assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED", "FAIL"}


def test_a_process_that_dies_before_it_is_answered(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    with open_sweep(tmp_path / "sweep", 1) as study:
        pool, found = Pool(study, 1, print), study.take_next()
        assert found is not None
        own, other = multiprocessing.Pipe()
        worker = Worker(multiprocessing.get_context("spawn").Process(), own, found[0])
        other.send(Epoch(1, 0.5))
        other.close()
        buried: list[Worker] = []
        monkeypatch.setattr(pool, "_bury", buried.append)
        pool._hear(worker)
        assert buried == [worker]


@pytest.mark.slow
def test_a_resumed_sweep_goes_on_with_its_trials(tmp_path: Path, files: tuple[Path, Path]) -> None:
    directory = tmp_path / "lr? 50%20"
    create_sweep(directory, read_spec(files[0]), files[1])
    with open_sweep(directory, 3) as study:
        taken = [study.take_next() for _ in range(3)]
        assert study.take_next() is None
        trial, _ = taken[0]  # type: ignore[misc]
        study.end(trial, TrialOutcome(1.5))
    assert (directory / "study.db").exists()
    with open_sweep(directory, None) as study:
        again = [study.take_next() for _ in range(2)]
        assert [each and each[1] for each in again] == [each and each[1] for each in taken[1:]]
        assert study.take_next() is None and study.best is not None and study.best.value == 1.5
    with open_sweep(directory, 4) as study:
        orders = [study.take_next() for _ in range(3)]
        assert len({each[1].overrides for each in [*taken, orders[2]] if each}) == 4
    (directory / "space.yaml").write_text("train.optimizer.lr: {low: 1.0e-4, high: 0.1}\n")
    with pytest.raises(RunError, match=r"space\.yaml was changed after the sweep began"), open_sweep(directory, None):
        pass


@pytest.mark.usefixtures("in_threads")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_ends_a_sweep_that_resumes(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    """It used to end the trials as failed, which a resumed sweep doesn't train again."""

    def full(spec: object, run: Path, *rest: object) -> None:
        error = OSError(errno.ENOSPC, "No space left on device", str(run))
        raise RunError("epoch 1 can't be saved") if wrapped else error from error

    monkeypatch.setattr("flowkit.sweep.worker.train_here", full)
    files[1].write_text("train.optimizer.lr: {low: 0.1, high: 0.2}\n")
    directory = tmp_path / "sweep"
    arguments = ["sweep", str(files[0]), "--space", str(files[1]), "-o", str(directory), "--trials", "2"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, states(directory)) == (2, ["RUNNING"])
    why = f"{directory}/trials/0000: No space left on device"
    assert result.stderr == f"{why}: when that is mended, `flowkit sweep --resume {directory}` goes on\n"
    monkeypatch.setattr("flowkit.sweep.worker.train_here", lambda *_: SimpleNamespace(val=1.0))
    monkeypatch.setattr("flowkit.sweep.result.write_result", lambda study: None)
    assert CliRunner().invoke(app, ["sweep", "--resume", str(directory)]).exit_code == 0
    assert states(directory) == ["COMPLETE", "COMPLETE"]


@pytest.mark.usefixtures("in_threads")
def test_workers_warn_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    own, other = multiprocessing.Pipe()
    own.close()
    train_trials(other, tmp_path, 0)
    assert warnings.formatwarning(DataWarning("why?"), DataWarning, "f.py", 1) == "warning: why?\n"  # type: ignore[call-arg]


@pytest.mark.usefixtures("in_threads")
def test_a_worker_ends_quietly_when_the_sweep_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = multiprocessing.Pipe()
    own.send("an order")
    monkeypatch.setattr("flowkit.sweep.worker._outcome", lambda *_: own.close())
    train_trials(other, tmp_path, 0)


@pytest.mark.parametrize(("listed", "chosen"), [(None, ["0", "1", "0"]), ("2,5", ["2", "5", "2"])])
def test_workers_use_different_gpus(monkeypatch: pytest.MonkeyPatch, listed: str | None, chosen: list[str]) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for place, gpu in enumerate(chosen):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if listed:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
        choose_gpu(place)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{spec}"], "give the fields that vary with --space FILE"),
        ([], "give either a SPEC or a sweep to --resume"),
        (["--resume", "{tmp}", "--space", "{space}"], "a resumed sweep keeps its directory"),
        (["--resume", "{tmp}"], "is no sweep: `flowkit sweep SPEC --space FILE"),
        (["{spec}", "--space", "{spec}"], "spec.yaml:"),
        (["{spec}", "--space", "{tmp}/none.yaml"], "none.yaml: there is no such file"),
        (["{spec}", "--space", "{space}", "-o", "{spec}/sweep"], "spec.yaml/sweep: Not a directory"),
        (["{spec}", "--space", "{space}", "-o", "{tmp}"], "exists and is not empty"),
        (["{spec}", "--space", "{space}", "--set", "train.devices=2"], "a sweep trains each trial on one device"),
        (["{spec}", "--space", "{space}", "--set", "train.strategy=fsdp"], "train.strategy: fsdp divides the weights"),
        (["{spec}", "--space", "{space}", "--set", "data={{use: data/npy, path: none.npy}}"], "none.npy"),
        (["{spec}", "--space", "{space}", "--set", "train.logger=wandb"], "train.logger: wandb needs wandb"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowkit.train.loggers.find_spec", lambda name: None)
    before = sorted(tmp_path.rglob("*"))
    given = [each.format(tmp=tmp_path, spec=files[0], space=files[1]) for each in arguments]
    result = CliRunner().invoke(app, ["sweep", *given])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert sorted(tmp_path.rglob("*")) == before


def test_the_data_may_vary(tmp_path: Path, files: tuple[Path, Path]) -> None:
    files[1].write_text("data: {choices: [{use: data/toy, name: moons}, {use: data/toy, name: circles}]}")
    create_sweep(tmp_path / "sweep", read_spec(files[0], ["data=null"]), files[1])


def test_a_damaged_database_is_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    (tmp_path / "sweep" / "study.db").write_text("no database" * 100)
    result = CliRunner().invoke(app, ["sweep", "--resume", str(tmp_path / "sweep")])
    assert result.exit_code == 2
    assert "study.db can't be read (DatabaseError: " in result.stderr and "put it back, or begin" in result.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE study_user_attributes SET value_json = '{'", "study.db can't be read (JSONDecodeError: "),
        ("UPDATE trials SET state = 'ODD'", "study.db can't be read (KeyError: 'ODD'): put it back"),
        ("DELETE FROM trials", "study.db has no trial for {sweep}/trials/0000: put it back, or begin another sweep"),
        ("DELETE FROM trial_values", "study.db lacks values of trial 0: put it back"),
        ("DELETE FROM trial_params", "study.db lacks values of trial 0: put it back"),
    ],
)
def test_what_a_database_lacks_is_an_error(tmp_path: Path, files: tuple[Path, Path], damage: str, message: str) -> None:
    directory = tmp_path / "sweep"
    create_sweep(directory, read_spec(files[0]), files[1])
    with open_sweep(directory, 1) as study:
        trial, order = study.take_next()  # type: ignore[misc]
        order.run.mkdir()
        study.end(trial, TrialOutcome(1.5))
    with contextlib.closing(sqlite3.connect(directory / "study.db")) as database, database:
        database.execute(damage)
    result = CliRunner().invoke(app, ["sweep", "--resume", str(directory)])
    assert result.exit_code == 2 and message.format(sweep=directory) in result.stderr


def test_scores_of_runs_are_not_taken_for_those_of_other_trials(tmp_path: Path, files: tuple[Path, Path]) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    (tmp_path / "sweep" / "trials" / "0000").mkdir()  # its study.db was lost
    with pytest.raises(RunError, match=r"study\.db has no trial for .*0000"), open_sweep(tmp_path / "sweep", None):
        pass


def test_a_database_that_cannot_be_written_is_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    full = (
        r"study\.db can't be written \(OperationalError: no such table: trials\): when that is mended, `flowkit sweep"
    )
    with pytest.raises(RunError, match=full), open_sweep(tmp_path / "sweep", 1) as study:
        with contextlib.closing(sqlite3.connect(tmp_path / "sweep" / "study.db")) as database, database:
            database.execute("DROP TABLE trials")
        study.take_next()


def test_a_disk_that_is_full_at_the_start_is_no_damage(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    connect = sqlite3.connect

    def small(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 2")
        return connection

    monkeypatch.setattr("flowkit.sweep.study.sqlite3.connect", small)
    full = r"study\.db can't be written \(OperationalError: database or disk is full\): when that is mended, `f"
    with pytest.raises(RunError, match=full), open_sweep(tmp_path / "sweep", 1):
        pass


def test_a_sweep_needs_optuna(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit.cli.sweep.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["sweep", str(files[0]), "--space", str(files[1])])
    assert result.exit_code == 2 and "sweeps need optuna: pip install '.[sweep]', in a clone" in result.stderr
    result = CliRunner().invoke(app, ["sweep", str(files[0]), "--space", str(files[0])])
    assert result.exit_code == 2 and "write {low: 1, high: 8}" in result.stderr


@pytest.mark.slow
def test_a_sweep_runs_once_at_a_time(tmp_path: Path, files: tuple[Path, Path]) -> None:
    create_sweep(tmp_path / "sweep", read_spec(files[0]), files[1])
    with open_sweep(tmp_path / "sweep", None) as study:
        assert isinstance(study, Study) and study.total == DEFAULT_TRIALS
        second = CliRunner().invoke(app, ["sweep", "--resume", str(tmp_path / "sweep")])
    assert second.exit_code == 2 and "is run by another process" in second.stderr
