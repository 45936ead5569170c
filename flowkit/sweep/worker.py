"""Trains trials in a process of a sweep, and reports the score of each epoch."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from rich.console import Console

from flowkit.errors import FlowkitError
from flowkit.plain_warnings import show_warnings_plainly
from flowkit.spec import Spec, read_spec
from flowkit.spec.run import RESULTS, SPEC
from flowkit.train.checkpoint import Row
from flowkit.train.here import resume_here, train_here
from flowkit.train.launching import end_with_the_parent
from flowkit.train.results import Results, read_results


@dataclass(frozen=True)
class TrialOrder:
    """The order to train a trial: the directory of its run, and the overrides of fields in the spec of the sweep."""

    run: Path
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Epoch:
    """The validation score of a trial after an epoch. The answer to it is True if the trial is to be pruned."""

    epoch: int
    val: float


@dataclass(frozen=True)
class TrialOutcome:
    """The end of a trial: ``val`` is its score, or ``failure`` says why it failed. A pruned trial has neither."""

    val: float | None = None
    failure: str | None = None


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""The errors of a disk that is full or broken, which end all trials alike."""


class Pruned(Exception):
    """Raised to end the training of a trial that is pruned."""


def train_trials(connection: Connection, spec: Path, place: int) -> None:
    """Train the trials that are ordered, until the connection is closed.

    ``spec`` is the file of the sweep's spec, and ``place`` the number of this worker, counted from 0.
    """
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    show_warnings_plainly()
    choose_gpu(place)
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        while True:
            connection.send(_outcome(connection.recv(), spec, connection))


def choose_gpu(place: int) -> None:
    """Hide all GPUs but one from this process, so that workers use different ones. CUDA must not have started yet."""
    count = torch.cuda.device_count()
    if count > 1:
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        visible = listed.split(",") if listed else [str(index) for index in range(count)]
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[place % count]


def _outcome(order: TrialOrder, spec: Path, connection: Connection) -> TrialOutcome | OSError:
    """Train a trial, and return how it ended. An error of the disk, which is no outcome, is returned as it is."""

    def report(row: Row) -> None:
        if row.val is not None:
            connection.send(Epoch(row.epoch, row.val))
            if connection.recv():
                raise Pruned

    try:
        return TrialOutcome(_train(order, spec, report).val)
    except Pruned:
        return TrialOutcome()
    except Exception as error:  # such as a bug of a plugin, or no memory: the other trials go on
        for cause in (error, error.__cause__):
            if isinstance(cause, OSError) and cause.errno in _DISK:
                return cause
        return TrialOutcome(
            failure=str(error) if isinstance(error, FlowkitError) else f"{type(error).__name__}: {error}"
        )


def _train(order: TrialOrder, base: Path, report: Callable[[Row], None]) -> Results:
    """Train the run of a trial, or go on with it if it has begun. Return its results."""
    if (order.run / RESULTS).exists():
        return read_results(order.run)
    quiet = Console(quiet=True)
    if (order.run / SPEC).exists():
        return resume_here(order.run, console=quiet, after_epoch=report)
    spec = read_spec(base, order.overrides)
    check_one_device(spec)
    return train_here(spec, order.run, quiet, report)


def check_one_device(spec: Spec) -> None:
    """Raise FlowkitError if the spec asks for several devices."""
    if spec.train.devices * spec.train.num_nodes > 1:
        raise FlowkitError("a sweep trains each trial on one device: leave out train.devices and train.num_nodes")
