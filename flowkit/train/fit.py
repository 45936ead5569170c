"""Puts a flow, its data and the callbacks into a Lightning trainer, and Lightning's own talk aside."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from rich.console import Console
from torch import Tensor

from flowkit.errors import RunError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, SplitName
from flowkit.spec import Train
from flowkit.train.batches import Batch, training_batches
from flowkit.train.callbacks import Average, History, LastCheckpoint, Validation
from flowkit.train.checkpoint import ANEW, Checkpoint, Row, read_checkpoint
from flowkit.train.directory import CHECKPOINT
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


def fit(flow: Flow, settings: Train, data: dict[SplitName, Arrays], directory: Path) -> Fitted:
    """Train from the run's checkpoint, or from the start if there is none yet.

    Raises TrainingError when a loss isn't finite, RunError when the checkpoint isn't one of this run,
    KeyboardInterrupt when interrupted.
    """
    batches = training_batches(data["train"], settings.batch_size, settings.seed)
    fitting = Fitting(flow, settings, len(batches))
    checkpoint = read_checkpoint(directory / CHECKPOINT, fitting) if (directory / CHECKPOINT).exists() else None
    if checkpoint is None:
        _initialize(flow, next(iter(batches)))
    average = None if settings.ema is None else Average(flow, settings.ema)
    validation = Validation(average.flow if average else flow, settings, data["val"])
    history = History(directory, fitting, validation)
    last = LastCheckpoint(directory, average, validation, history)
    callbacks = [average, validation, history, reporter(Console(), fitting, history), last]
    with _quiet(), _interruptible():
        trainer = Trainer(
            max_epochs=settings.epochs,
            callbacks=[callback for callback in callbacks if callback],
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=directory,
        )
        if checkpoint is not None:
            for each in (fitting, average, validation, history):
                if each:
                    each.restore(checkpoint)
            _forward(trainer, checkpoint)
        trainer.fit(fitting, batches)
    if not validation.weights:  # there was nothing left to train, and the checkpoint was without them
        raise RunError(f"{directory / CHECKPOINT} holds no validated weights: {ANEW}")
    return Fitted(validation.weights, validation.best, validation.best_epoch, history.rows)


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
