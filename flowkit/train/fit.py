"""Puts a flow, its data and the callbacks into a Lightning trainer, and Lightning's own talk aside."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from flowkit.errors import RunError
from flowkit.flow import Flow
from flowkit.flow.saving import RESULTS
from flowkit.plugin import Arrays
from flowkit.spec import Train
from flowkit.train.batches import Batch, training_batches
from flowkit.train.callbacks import Average, History, LastCheckpoint, Validation
from flowkit.train.checkpoint import Checkpoint, Row, read_checkpoint, standing
from flowkit.train.directory import CHECKPOINT
from flowkit.train.evaluation import best_device
from flowkit.train.report import reporter
from flowkit.train.step import Fitting

CHATTER = (
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",
)
"""Warnings about how Lightning is set up, which is on purpose, and about its own insides."""

MAX_INITIAL_ROWS = 512
"""The most events that the data-dependent initialization looks at."""


@dataclass(frozen=True)
class Fitted:
    """The weights that did best in validation, their figure and epoch, and the rows of metrics.csv."""

    weights: dict[str, Tensor]
    best: float
    best_epoch: int
    rows: list[Row]


@dataclass(frozen=True)
class Start:
    """Where a training starts: at the run's checkpoint, or at initial weights if there is none yet."""

    fitting: Fitting
    batches: DataLoader[Batch]
    checkpoint: Checkpoint | None


def start(flow: Flow, settings: Train, data: Arrays, directory: Path) -> Start:
    """Read the run's checkpoint, or initialize the flow with the training data.

    Raises RunError when the checkpoint isn't one of this run, or has more epochs than the settings, or if the run is
    finished and the settings leave nothing to train.
    """
    batches = training_batches(data, settings.batch_size, settings.seed)
    fitting = Fitting(flow, settings, len(batches))
    if not (directory / CHECKPOINT).exists():
        _initialize(flow, next(iter(batches)))
        return Start(fitting, batches, None)
    checkpoint = read_checkpoint(directory / CHECKPOINT, fitting)
    done = len(checkpoint.rows)
    if settings.epochs is not None and done > settings.epochs:
        raise RunError(
            f"{directory} has {done} epochs behind it, more than train.epochs: {settings.epochs}: set {done} or more; "
            f"`flowkit train --resume {directory} --finish` finishes it as it is"
        )
    if (directory / RESULTS).exists() and (reason := _ended(settings, checkpoint)):
        raise RunError(f"{directory} is finished and there is nothing left to train: {reason}")
    return Start(fitting, batches, checkpoint)


def _ended(settings: Train, checkpoint: Checkpoint) -> str | None:
    """Why training ends at the checkpoint, or None if it goes on."""
    done = len(checkpoint.rows)
    _, best_epoch, waited = standing(checkpoint.rows)
    if done == settings.epochs:
        return f"train.epochs: {done} are done"
    if settings.minutes is not None and checkpoint.seconds >= 60 * settings.minutes:
        return f"train.minutes: {settings.minutes:g} are used up"
    if settings.patience is not None and waited >= settings.patience:
        return f"epoch {best_epoch} is still the best after train.patience: {settings.patience} more validations"
    return None


def fit(start: Start, data: Arrays, directory: Path, finish: bool = False) -> Fitted:
    """Train from the start to the end; ``finish``: take what there is, validated with ``data``.

    Raises TrainingError when a loss isn't finite, RunError when there is nothing to take, KeyboardInterrupt when
    interrupted.
    """
    fitting, checkpoint = start.fitting, start.checkpoint
    if finish and checkpoint is None:
        raise RunError(
            f"{directory} has no whole epoch yet, and so nothing to finish with: `flowkit train --resume {directory}` "
            "goes on with it"
        )
    flow, ema = fitting.flow, fitting.settings.ema
    average = None if ema is None else Average(flow, ema)
    validation = Validation(average.flow if average else flow, fitting, data)
    history = History(directory, fitting, validation)
    if checkpoint is not None:
        for each in (fitting, average, validation, history):
            if each:
                each.restore(checkpoint)
    if not finish:
        last = LastCheckpoint(directory, average, validation, history)
        callbacks = [average, validation, history, reporter(Console(), fitting, history), last]
        _train(start, [callback for callback in callbacks if callback], directory)
    if checkpoint is not None and history.rows[-1]["val"] is None:  # nothing was trained since
        _validate_last(validation, history, checkpoint, directory)
    return Fitted(validation.weights, validation.best, validation.best_epoch, history.rows)


def _train(start: Start, callbacks: list[Callback], directory: Path) -> None:
    epochs = start.fitting.settings.epochs
    with _quiet(), _interruptible():
        trainer = Trainer(
            max_epochs=-1 if epochs is None else epochs,
            callbacks=callbacks,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=directory,
        )
        if start.checkpoint is not None:
            _forward(trainer, start.checkpoint)
        (directory / RESULTS).unlink(missing_ok=True)  # of a finished run that is trained for longer
        trainer.fit(start.fitting, start.batches)


def _validate_last(validation: Validation, history: History, checkpoint: Checkpoint, directory: Path) -> None:
    """Validate the checkpoint's weights, as is done after a last epoch, and record it."""
    validation.flow.to(best_device())
    validation.validate(len(history.rows))
    history.rows[-1]["val"] = validation.figure
    replace(checkpoint, rows=history.rows, best=validation.weights).write(directory / CHECKPOINT)
    history.write()


def _forward(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Let the trainer count on from the checkpoint."""
    epochs: Any = trainer.fit_loop.epoch_progress
    steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    for count in (epochs.current, epochs.total):
        count.ready = count.started = count.processed = count.completed = len(checkpoint.rows)
    steps.total.ready = steps.total.completed = checkpoint.steps


def _initialize(flow: Flow, batch: Batch) -> None:
    x, context = batch
    flow.initialize(flow.dequantize(x[:MAX_INITIAL_ROWS]), None if context is None else context[:MAX_INITIAL_ROWS])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's tips and advice. Warnings of anybody else's come through."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in CHATTER:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns a KeyboardInterrupt into exit(1) and goes deaf to the next one: undo both."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
