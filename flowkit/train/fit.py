"""Puts a flow, its data and the callbacks into a Lightning trainer, and Lightning's own talk aside."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import torch
from pytorch_lightning import Trainer
from rich.console import Console
from torch import Tensor

from flowkit.errors import FlowkitError, RunError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, SplitName
from flowkit.spec import Train
from flowkit.train.batches import Batch, training_batches
from flowkit.train.callbacks import Average, History, LastCheckpoint, Row, Validation
from flowkit.train.directory import CHECKPOINT
from flowkit.train.module import Fitting
from flowkit.train.report import reporter
from flowkit_runtime.files import open_file

CHATTER = (
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",
)
"""Warnings about how Lightning is set up, which is on purpose, and about its own insides."""

ANEW = "remove it, and the run begins anew"

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

    Raises TrainingError when a loss isn't finite, RunError when the checkpoint holds anything but tensors and
    plain values, KeyboardInterrupt when interrupted.
    """
    batches = training_batches(data["train"], settings.batch_size, settings.seed)
    checkpoint = directory / CHECKPOINT
    resuming = checkpoint.exists()
    if resuming:
        _check_readable(checkpoint)
    else:
        _initialize(flow, next(iter(batches)))
    average = None if settings.ema is None else Average(flow, settings.ema)
    fitting = Fitting(flow, settings, settings.epochs * len(batches))
    validation = Validation(average.flow if average else flow, settings, data["val"])
    history = History(directory, fitting, validation)
    callbacks = [
        average,
        validation,
        history,
        reporter(Console(), fitting, history),
        LastCheckpoint(directory),
    ]
    with _quiet(), _interruptible():
        trainer = Trainer(
            max_epochs=settings.epochs,
            callbacks=[callback for callback in callbacks if callback],
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=directory,
        )
        try:
            trainer.fit(fitting, batches, ckpt_path=checkpoint if resuming else None, weights_only=True)
        except Exception as error:
            if not resuming or fitting.started or isinstance(error, FlowkitError):
                raise
            raise RunError(f"{checkpoint} isn't one of this run ({error}): {ANEW}") from error
    if not validation.weights:  # there was nothing left to train, and the checkpoint was without them
        raise RunError(f"{checkpoint} holds no validated weights: {ANEW}")
    return Fitted(validation.weights, validation.best, validation.best_epoch, history.rows)


def _check_readable(checkpoint: Path) -> None:
    """Raises RunError. Nothing that the file pickles is run, and nothing in it is compressed or there twice."""
    try:
        with open_file(checkpoint) as file, ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > checkpoint.stat().st_size:
                raise ValueError("it unpacks to more than its size")
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its readers of zip files and pickles raise
        raise RunError(f"{checkpoint} can't be read: {ANEW}") from error


def _initialize(flow: Flow, batch: Batch) -> None:
    x, context = batch
    flow.initialize(flow.dequantize(x[:MAX_INITIAL_ROWS]), None if context is None else context[:MAX_INITIAL_ROWS])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's tips and advice. Warnings of anybody else's come through."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
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
        raise KeyboardInterrupt from error
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
