"""Runs the trials of a study in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from optuna.trial import Trial

from flowkit.spec.run import SPEC
from flowkit.sweep.study import Study
from flowkit.sweep.worker import Epoch, TrialOutcome, train_trials

GRACE = 10.0
"""The seconds in which a process may end by itself before it is killed."""


@dataclass
class Worker:
    """A process that trains one trial after another. ``trial`` is the one that it trains now."""

    process: SpawnProcess
    connection: Connection
    trial: Trial | None = None


@dataclass
class Pool:
    """The processes of a sweep. ``ended`` is called with the number of each trial that has ended."""

    study: Study
    size: int
    ended: Callable[[int], None]
    workers: list[Worker] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Run the trials of the study until it has ``study.total`` trials, and all have ended."""
        try:
            self._hand_out()
            while busy := {worker.connection: worker for worker in self.workers if worker.trial}:
                for connection in wait(list(busy)):
                    self._hear(busy[connection])  # type: ignore[index]
                self._hand_out()
        finally:
            self._stop()

    def _hand_out(self) -> None:
        for place in range(self.size):
            if place < len(self.workers) and self.workers[place].trial:
                continue
            if (following := self.study.take_next()) is None:
                return
            if place == len(self.workers):
                self.workers.append(self._start(place))
            worker = self.workers[place]
            worker.trial, order = following
            with suppress(ConnectionError):  # it was killed while it had nothing to do, which `_hear` finds next
                worker.connection.send(order)

    def _start(self, place: int) -> Worker:
        context = multiprocessing.get_context("spawn")
        own, other = context.Pipe()
        process = context.Process(target=train_trials, args=(other, self.study.directory / SPEC, place))
        process.start()
        other.close()
        return Worker(process, own)

    def _hear(self, worker: Worker) -> None:
        assert worker.trial is not None
        try:
            message: Any = worker.connection.recv()
            if isinstance(message, Epoch):
                worker.connection.send(self.study.report(worker.trial, message.epoch, message.val))
                return
        except (EOFError, ConnectionError):
            self._bury(worker)
            return
        if isinstance(message, OSError):  # the trial stays unfinished, for a resumed sweep
            raise message
        self._end(worker.trial, message)
        worker.trial = None

    def _bury(self, worker: Worker) -> None:
        """Replace a process that was killed, and run its trial again.

        A trial whose process was killed twice has failed: it may take more memory than there is.
        """
        worker.process.join()
        place = self.workers.index(worker)
        self.workers[place] = self._start(place)
        trial, code = worker.trial, worker.process.exitcode or 0
        assert trial is not None
        if trial.number in self.killed:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self._end(trial, TrialOutcome(failure=f"its process {how}, twice"))
        else:
            self.killed.add(trial.number)
            self.study.put_back(trial)

    def _end(self, trial: Trial, outcome: TrialOutcome) -> None:
        self.study.end(trial, outcome)
        self.ended(trial.number)

    def _stop(self) -> None:
        for worker in self.workers:
            worker.connection.close()
            if worker.trial:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(GRACE)
            worker.process.kill()
