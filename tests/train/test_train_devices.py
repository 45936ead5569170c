"""Training with several processes: the steps of one process, killed processes, launchers, what is refused."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from flowkit.errors import DataError, DataWarning, FlowkitError, SpecError, TrainingError
from flowkit.spec import Spec, read_spec, to_yaml
from flowkit.train import read_results, resume, train
from flowkit.train.batches import Batch
from flowkit.train.devices import connected, layout
from flowkit.train.here import train_here
from flowkit.train.launching import _end, launch
from flowkit.train.step import Fitting
from tests.extent import extent, nightly
from tests.train import side_by_side
from tests.train.conftest import SPEC

MakeSpec = Callable[..., Spec]

TWO = "train.devices=2"
LONG = ("data.n=2000", "train.batch_size=32", "train.ema=null", "train.epochs=30")
"""A run that something can happen to."""


@pytest.mark.parametrize("overrides", [("train.accumulate=4",), ("train.accumulate=41", "train.memory=reversible")])
def test_micro_batches_have_the_gradients_of_the_whole_batch(overrides: tuple[str, ...]) -> None:
    assert max(side_by_side.differences(overrides, 4)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    extent(
        [(TWO, "train.accumulate=3", "train.memory=reversible")],
        [
            (TWO,),
            (TWO, "train.accumulate=3", "train.memory=reversible"),
            (TWO, "train.accumulate=21"),
            (TWO, "train.memory=checkpoint"),
        ],
    ),
    ids=",".join,
)
def test_two_processes_take_the_steps_of_one(overrides: tuple[str, ...]) -> None:
    """100 steps in fp64 on batches of 41 events, shares of 20 and 21."""
    assert max(side_by_side.differences(overrides, 100)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("strategy", extent(["ddp"], ["ddp", "fsdp"]))
def test_two_processes_use_the_noise_and_the_validation_of_one(tmp_path: Path, strategy: str) -> None:
    """Plain gradient descent, which doesn't blow up rounding errors of gradients that are 0, as Adam does."""
    sgd = ("train.optimizer={name: sgd, lr: 1.0e-3}", "train.epochs=2", "train.batch_size=101", "train.warmup=0")
    for run, more in (("one", ()), ("two", (TWO, f"train.strategy={strategy}"))):
        train(read_spec("specs/glow-digits.yaml", [*sgd, *more, "train.validate_every=1"]), tmp_path / run)
    rows = [list(csv.DictReader((tmp_path / run / "metrics.csv").open())) for run in ("one", "two")]
    for one, two in zip(*rows, strict=True):
        assert float(one["train"]) == pytest.approx(float(two["train"]), abs=1e-4)
        assert float(one["val"]) == pytest.approx(float(two["val"]), abs=1e-4)
    assert read_results(tmp_path / "one").test == pytest.approx(read_results(tmp_path / "two").test, abs=1e-4)


# Processes that end


def starting(directory: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start `flowkit train` with two processes."""
    directory.mkdir(exist_ok=True)
    (directory / "spec.yaml").write_text(to_yaml(read_spec(SPEC, [*LONG, TWO, *overrides])))
    command = [Path(sys.executable).with_name("flowkit"), "train", directory / "spec.yaml", "-o", directory / "run"]
    # A shell starts what runs in its background with SIGINT ignored, and so are the tests and their processes then.
    interruptible = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    )


def started(directory: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start `flowkit train` with two processes, and wait until its first epoch is kept."""
    process = starting(directory, *overrides)
    metrics, end = directory / "run" / "metrics.csv", time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 1):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    return process


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that compute, in the order of their ranks."""
    children = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    return sorted(map(int, children.stdout.split()))


def gone(pids: list[int], within: float = 40) -> bool:
    end = time.monotonic() + within
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    extent([(signal.SIGINT, 130)], [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]),
)
def test_ending_the_command_ends_its_processes(tmp_path: Path, number: int, code: int) -> None:
    command = started(tmp_path)
    pids = workers(command)
    os.kill(command.pid, number)
    _, error = command.communicate(timeout=60)
    assert command.returncode == code and "Traceback" not in error
    if code > 0:
        assert "interrupted: `flowkit train --resume" in error
    assert gone(pids)
    assert resume(tmp_path / "run", ["train.devices=1", "train.epochs=1"], finish=False).epochs == 1


@pytest.mark.slow
def test_killing_the_command_while_its_processes_start_ends_them(tmp_path: Path) -> None:
    command = starting(tmp_path, "train.epochs=100000")
    while len(pids := workers(command)) < 2:
        assert command.poll() is None, command.communicate()
    command.kill()
    try:
        assert gone(pids)
    finally:
        for pid in filter(lambda pid: not gone([pid], 0), pids):
            os.kill(pid, signal.SIGKILL)


def disturbed(spec: str, directory: Path, rank: int, disturb: Callable[[Fitting], None]) -> None:
    """Train. At the beginning of step 7, which is in the second epoch, one process is disturbed."""
    original = Fitting.training_step

    def training_step(self: Fitting, batch: Batch) -> None:
        if self.global_step == 7 and self.fabric.global_rank == rank:
            disturb(self)
        original(self, batch)

    Fitting.training_step = training_step  # type: ignore[method-assign]
    train_here(spec, directory)


def die(_: Fitting) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("rank", extent([1], [0, 1]))
def test_a_killed_process_ends_the_others_and_one_process_finishes_the_run(
    tmp_path: Path, make_spec: MakeSpec, rank: int
) -> None:
    spec = make_spec(TWO)
    with pytest.raises(TrainingError, match=rf"process {rank} of 2, .* was killed by SIGKILL, .* `flowkit train --res"):
        launch(spec.train, disturbed, to_yaml(spec), tmp_path / "run", rank, die)
    assert not multiprocessing.active_children()
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 2
    assert resume(tmp_path / "run", ["train.devices=1"]).epochs == 4
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["val"]) < float(rows[0]["val"])
    assert read_spec(tmp_path / "run" / "spec.yaml").train.devices == 1


def doubt() -> None:
    warnings.warn("is it meant?", DataWarning, stacklevel=1)


@pytest.mark.slow
def test_the_first_process_warns_in_one_line(make_spec: MakeSpec, capfd: pytest.CaptureFixture[str]) -> None:
    launch(make_spec(TWO).train, doubt)
    assert capfd.readouterr().err == "warning: is it meant?\n"


def spoil(fitting: Fitting) -> None:
    next(fitting.flow.layers[1].parameters()).data.fill_(torch.nan)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", extent(["fsdp"], ["ddp", "fsdp"]))
def test_what_is_not_finite_in_one_process_stops_all_with_its_layer(
    tmp_path: Path, make_spec: MakeSpec, strategy: str
) -> None:
    spec = make_spec(TWO, f"train.strategy={strategy}")
    with pytest.raises(TrainingError, match=r"step 7: the loss is nan; .* layer 1 .*try a lower"):
        launch(spec.train, disturbed, to_yaml(spec), tmp_path / "run", 1, spoil)


class Stuck:
    """A process that ends only when it is killed."""

    pid, alive = 0, True

    def is_alive(self) -> bool:
        return self.alive

    def join(self, timeout: float) -> None:
        pass

    def kill(self) -> None:
        self.alive = False


def test_windows_has_no_signals_to_end_processes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(signal, "SIGKILL")
    monkeypatch.delattr(os, "kill")
    stuck = Stuck()
    _end(SimpleNamespace(processes=[stuck]))  # type: ignore[arg-type]
    assert not stuck.alive


# Launchers


@pytest.mark.slow
def test_torchrun_launches_the_processes_of_a_command(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "spec.yaml").write_text(to_yaml(make_spec()))
    flowkit = Path(sys.executable).with_name("flowkit")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command = [*torchrun, flowkit, "train", tmp_path / "spec.yaml", "-o", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 4/4") == done.stdout.count("run: val ") == 1
    assert read_results(tmp_path / "run").epochs == 4


@nightly
@pytest.mark.slow
def test_two_nodes_train_together(tmp_path: Path, make_spec: MakeSpec) -> None:
    from lightning_fabric.plugins.environments.lightning import find_free_network_port

    (tmp_path / "spec.yaml").write_text(to_yaml(make_spec("train.num_nodes=2")))
    flowkit = Path(sys.executable).with_name("flowkit")
    command = [flowkit, "train", tmp_path / "spec.yaml", "-o", tmp_path / "run"]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    nodes = [
        subprocess.Popen(command, env=shared | {"NODE_RANK": str(node)}, stdout=subprocess.PIPE, text=True)
        for node in (0, 1)
    ]
    outputs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert ["epoch 4/4" in output for output in outputs] == [True, False]
    assert read_results(tmp_path / "run").epochs == 4


FIT = """
import numpy as np
import flowkit

if __name__ == "__main__":
    x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    fitted = flowkit.fit(x, x[:, 0] > 0, epochs=3, batch_size=50, devices=2)
    print(len(fitted.history), fitted.sample(5, context=1).shape)
"""


@nightly
@pytest.mark.slow
def test_fit_on_two_devices(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FIT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 (5, 2)\n"  # there is no terminal to show a bar on


@nightly
@pytest.mark.slow
def test_a_script_that_would_launch_again_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FIT.replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert 'put what trains below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_one_process_asks_slurm_for_nothing(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    with connected(make_spec().train) as fabric:
        assert (fabric.world_size, fabric.global_rank) == (1, 0)


# What is refused


def test_devices_that_are_not_there(tmp_path: Path, make_spec: MakeSpec) -> None:
    cores = os.cpu_count()
    with pytest.raises(FlowkitError, match=rf"train.devices: 40 is too many, as this machine has {cores} CPU core"):
        train(make_spec("train.devices=40"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "numbers"),
    [
        ("LOCAL_RANK", "abc", "from 0 to 999999"),
        ("MASTER_PORT", "abc", "from 1 to 65535"),
        ("MASTER_PORT", "70000", "from 1 to 65535"),
        ("LOCAL_WORLD_SIZE", "0", "from 1 to 999999"),
    ],
)
def test_a_variable_of_launchers_that_is_no_number(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, name: str, value: str, numbers: str
) -> None:
    """Even libraries that train in one process read LOCAL_RANK, when they are imported."""
    monkeypatch.setenv(name, value)
    with pytest.raises(FlowkitError, match=rf"variable {name} is '{value}', not a number {numbers}: unset it, or set"):
        train(make_spec(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_process_without_a_place_does_not_wait_for_the_others(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NODE_RANK": "7", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FlowkitError, match="variable NODE_RANK is 7: set it to a number from 0 to 1"):
        layout(make_spec("train.num_nodes=2").train)
    for name, value in {"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FlowkitError, match="variable RANK is 2: set it to a number from 0 to 1"):
        layout(make_spec().train)


def test_a_node_that_does_not_know_the_others(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    with pytest.raises(FlowkitError, match=r"train.num_nodes: 2 needs .*no NODE_RANK: set them, or .* torchrun"):
        layout(make_spec("train.num_nodes=2").train)


def test_launched_processes_are_all_used_unless_the_spec_says_otherwise(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert layout(make_spec().train) == (2, 2)
    with pytest.raises(FlowkitError, match=r"4 processes were launched, and train.devices: 2 times .* are 2: leave"):
        layout(make_spec("train.devices=2").train)
    with pytest.raises(FlowkitError, match=r"train.batch_size: 3 is less than one event for each of 4 processes"):
        layout(make_spec("train.batch_size=3").train)


def test_fewer_events_than_processes_leave_no_directory(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = SimpleNamespace(world_size=500, global_rank=0, broadcast=lambda error: error, barrier=lambda: None)
    monkeypatch.setattr("flowkit.train.here.connected", lambda settings: nullcontext(many))
    with pytest.raises(DataError, match="220 events are less than one for each of 500 processes"):
        train(make_spec(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["devices", "num_nodes", "accumulate"])
def test_more_shares_than_events_of_a_batch(make_spec: MakeSpec, field: str) -> None:
    with pytest.raises(SpecError, match=rf"train.{field}: is more than batch_size: 40, the events of a step"):
        make_spec(f"train.{field}=41")
