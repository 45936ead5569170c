"""Keeps the trials of a sweep in its directory, in an SQLite database that Optuna reads and writes.

- spec.yaml, space.yaml: the spec and its space, as they were when the sweep began
- study.db: the trials, with their values, scores and states
- trials/NUMBER: the run of each trial
- trials.csv, sweep.png, best.yaml: the result so far; see ``flowkit.sweep.result``
- .sweeping: locked by the process that runs the sweep
"""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from flowkit.errors import RunError
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.spelling import line
from flowkit.spec import Spec, likelihood, read_spec, to_yaml
from flowkit.spec.run import SPEC
from flowkit.spec.text import text_of
from flowkit.sweep.space import Choices, Space, Span, read_space
from flowkit.sweep.worker import TrialOrder, TrialOutcome, check_one_device
from flowkit.train.data import load_data
from flowkit.train.devices import layout
from flowkit.train.directory import TRAINING, check_free
from flowkit.train.loggers import check_logger
from flowkit_runtime.atomic import locked, making, naming
from flowkit_runtime.bundle import printed_unit

NAME = "sweep"
SPACE, DATABASE, TRIALS, SWEEPING = "space.yaml", "study.db", "trials", ".sweeping"
HASHES = "hashes"
"""The attribute of a study that holds the SHA-256 of the files that trials depend on."""
FAILURE = "failure"
"""The attribute of a trial that says why it failed."""
TOTAL = "trials"
"""The attribute of a study that holds the number of trials that were asked for."""
PATIENCE = 60.0
"""The seconds that a resumed sweep waits for the processes of the killed one to end."""
DEFAULT_TRIALS = 30
"""The number of trials of a sweep for which none is given."""
BACK = "put it back, or begin another sweep"
"""The advice about files of a sweep that were changed or lost."""


class Study:
    """The trials of a sweep, which are kept in a database. Its properties only read the database."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.spec: Spec = read_spec(directory / SPEC)
        self.space: Space = read_space(directory / SPACE, self.spec)
        self._waiting: list[Trial] = []
        try:
            self._optuna = self._open()
        except RunError:
            raise
        except Exception as error:  # whatever Optuna and SQLAlchemy find in a damaged file
            if getattr(_first(error), "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise
            raise RunError(f"{directory / DATABASE} can't be read ({in_a_line(_first(error))}): {BACK}") from error
        self._check_whole()

    def _open(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        settings = self.spec.train
        # Versions of SQLAlchemy disagree about which characters of a path are escaped in a URL.
        connect = partial(sqlite3.connect, self.directory / DATABASE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=RDBStorage("sqlite://", engine_kwargs={"creator": connect}),
                study_name=NAME,
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_warmup_steps=(settings.epochs or 0) // 4 + 1),
            )
            # The seed depends on the number of trials, so that a resumed sweep doesn't choose the same values again.
            seed = int(np.random.SeedSequence([settings.seed, len(study.trials)]).generate_state(1)[0])
            study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._check_unchanged(study)
        return study

    def _check_unchanged(self, study: optuna.Study) -> None:
        """Raise RunError if the spec or the space isn't as it was when the sweep began."""
        hashes = {name: sha256((self.directory / name).read_bytes()).hexdigest() for name in (SPEC, SPACE)}
        begun = study.user_attrs.get(HASHES)
        if begun is None:
            study.set_user_attr(HASHES, hashes)
        elif changed := [name for name in hashes if hashes[name] != begun[name]]:
            path = self.directory / changed[0]
            raise RunError(f"{path} was changed after the sweep began: {BACK}")

    def _check_whole(self) -> None:
        """Raise RunError if the database lacks the trial of a run, or what an ended trial has.

        A database that was lost begins anew with other values, and would take the scores of the runs for theirs.
        """
        path, trials = self.directory / DATABASE, self.trials
        known = {self.run_of(trial.number) for trial in trials}
        if lost := [run for run in sorted((self.directory / TRIALS).glob("[0-9]*")) if run not in known]:
            raise RunError(f"{path} has no trial for {lost[0]}: {BACK}")
        for number, trial in enumerate(trials):
            whole = trial.state != TrialState.COMPLETE or (
                trial.value is not None and trial.params.keys() == self.space.keys()
            )
            if trial.number != number or not whole:
                raise RunError(f"{path} lacks values of trial {number}: {BACK}")

    @property
    def unit(self) -> str:
        """The unit of scores, as it is printed."""
        return printed_unit(self.spec.event.levels, likelihood(self.spec))

    @property
    def total(self) -> int:
        """The number of trials that were asked for."""
        return int(self._optuna.user_attrs.get(TOTAL, DEFAULT_TRIALS))

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, in the order in which they began."""
        return self._optuna.get_trials(deepcopy=False)

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the lowest score, or None if none is complete."""
        return next(iter(self.ranked), None)

    @property
    def ranked(self) -> list[FrozenTrial]:
        """The complete trials, the best first."""
        return sorted(in_state(self.trials, TrialState.COMPLETE), key=attrgetter("value"))

    def run_of(self, number: int) -> Path:
        """Return the directory of a trial's run."""
        return self.directory / TRIALS / f"{number:04d}"

    def set_total(self, total: int) -> None:
        """Set the number of trials that are asked for."""
        self._optuna.set_user_attr(TOTAL, total)

    def take_up_unfinished(self) -> None:
        """Take up the trials that a killed sweep has left unfinished, once none of its processes trains them any more.

        Raises RunError if that takes longer than PATIENCE.
        """
        for frozen in in_state(self.trials, TrialState.RUNNING):
            _wait_for(self.run_of(frozen.number))
            self._waiting.append(Trial(self._optuna, frozen._trial_id))

    def put_back(self, trial: Trial) -> None:
        """Put a trial back, so that `take_next` returns it next."""
        self._waiting.insert(0, trial)

    def take_next(self) -> tuple[Trial, TrialOrder] | None:
        """Return an unfinished trial or a new one, and the order for it. Return None if there are enough trials."""
        if self._waiting:
            trial = self._waiting.pop(0)
        elif len(self.trials) < self.total:
            trial = self._optuna.ask()
        else:
            return None
        overrides = tuple(f"{field}={spelled_value(_suggest(trial, field, self.space[field]))}" for field in self.space)
        return trial, TrialOrder(self.run_of(trial.number), overrides)

    def report(self, trial: Trial, epoch: int, val: float) -> bool:
        """Record the score of a trial after an epoch. Return True if the trial should be pruned."""
        trial.report(val, epoch)
        return trial.should_prune()

    def end(self, trial: Trial, outcome: TrialOutcome) -> None:
        """Record how a trial ended."""
        if outcome.failure is not None:
            trial.set_user_attr(FAILURE, outcome.failure)
            self._optuna.tell(trial, state=TrialState.FAIL)
        elif outcome.val is None:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, outcome.val)


def in_state(trials: list[FrozenTrial], state: TrialState) -> list[FrozenTrial]:
    """Return the trials that are in a state."""
    return [trial for trial in trials if trial.state == state]


def spelled_value(value: Any) -> str:
    """Return the value of a parameter as a spec writes it. Choices are such texts already."""
    return value if isinstance(value, str) else line(value)


def _suggest(trial: Trial, field: str, values: Span | Choices) -> str | float:
    """Return the value of a field in a trial, and choose it if it isn't chosen yet."""
    if isinstance(values, Choices):
        return trial.suggest_categorical(field, values.examples)
    if values.whole:
        return trial.suggest_int(field, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(field, values.low, values.high, log=values.log)


def _first(error: BaseException) -> BaseException:
    """Return the first cause of an error, which says more than what Optuna makes of it."""
    return error if error.__cause__ is None else _first(error.__cause__)


def _wait_for(run: Path) -> None:
    """Wait until no process trains a run. Raises RunError if that takes longer than PATIENCE."""
    end = time.monotonic() + PATIENCE
    while run.exists():
        try:
            with locked(run / TRAINING):
                return
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise RunError(f"{run} is still being trained by another process: end it") from error
            time.sleep(0.1)


def create_sweep(directory: Path, spec: Spec, space: Path) -> None:
    """Create the directory of a new sweep.

    First it checks what would make all trials fail. Raises SpecError, RunError, DataError if the data can't be read, or
    FlowkitError for several devices or a missing logger.
    """
    check_one_device(spec)
    layout(spec.train)
    check_logger(spec.train.logger)
    if not any(field.startswith("data") for field in read_space(space, spec)):
        load_data(spec)
    text = text_of(space)
    check_free(directory)
    with naming(directory), making(directory) as temporary:
        (temporary / TRIALS).mkdir()
        (temporary / SPACE).write_text(text, encoding="utf-8")
        (temporary / SPEC).write_text(to_yaml(spec), encoding="utf-8")


@contextmanager
def open_sweep(directory: Path, total: int | None) -> Iterator[Study]:
    """Open the study of a sweep, and lock it inside the block.

    ``total`` is the number of all trials; None leaves it as it was. Raises RunError if the directory is no sweep, if
    another process runs it, if the database can't be read, or if the disk can't be written.
    """
    if not all((directory / name).exists() for name in (SPEC, SPACE, TRIALS)):
        raise RunError(f"{directory} is no sweep: `flowkit sweep SPEC --space FILE -o {directory}` makes one")
    try:
        with locked(directory / SWEEPING):
            study = Study(directory)
            if total is not None:
                study.set_total(total)
            study.take_up_unfinished()
            yield study
    except BlockingIOError as error:
        raise RunError(f"{directory} is run by another process: wait until it ends, or end it") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise RunError(
            f"{directory / DATABASE} can't be written ({in_a_line(_first(error))}): {_goes_on(directory)}"
        ) from error
    except OSError as error:
        raise RunError(f"{error.filename or directory}: {error.strerror or error}: {_goes_on(directory)}") from error


def _goes_on(directory: Path) -> str:
    return f"when that is mended, `flowkit sweep --resume {directory}` goes on"
