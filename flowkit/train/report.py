"""Progress for whoever watches: a bar on a terminal, a line an epoch anywhere else."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowkit.train.callbacks import History
from flowkit.train.checkpoint import Row
from flowkit.train.step import Fitting


def describe(row: Row, unit: str) -> str:
    """The figures of one epoch."""
    val = "" if row["val"] is None else f"  val {row['val']:.4f}"
    drift = "" if row["drift"] is None else f"  drift {row['drift']:.1e}"
    return f"train {row['train']:.4f}{val} {unit}{drift}"


def _epoch(number: int, fitting: Fitting) -> str:
    epochs = fitting.settings.epochs
    return f"epoch {number}" if epochs is None else f"epoch {number}/{epochs}"


class Bar(Callback):
    """Steps of the whole run, or seconds if its time is limited, with the figures of the last epoch."""

    def __init__(self, console: Console, fitting: Fitting, history: History):
        self.fitting, self.history = fitting, history
        words, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        unit = TextColumn("" if fitting.stopwatch.limit is None else "s")
        columns = (words, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn(), figures)
        self.progress = Progress(*columns, console=console, refresh_per_second=4)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        total = self.fitting.stopwatch.limit or self.fitting.steps
        self.task = self.progress.add_task("", total=total, completed=self._done(trainer), figures="")
        self.progress.start()

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.progress.update(self.task, description=_epoch(trainer.current_epoch + 1, self.fitting))

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.progress.update(self.task, completed=self._done(trainer))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.progress.update(self.task, figures=describe(self.history.rows[-1], self.fitting.flow.unit))

    def _done(self, trainer: Trainer) -> int:
        watch = self.fitting.stopwatch
        return trainer.global_step if watch.limit is None else int(watch.seconds)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.progress.stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.progress.stop()


class Lines(Callback):
    """One line an epoch."""

    def __init__(self, console: Console, fitting: Fitting, history: History):
        self.console, self.fitting, self.history = console, fitting, history

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        row = self.history.rows[-1]
        epoch = f"{_epoch(row['epoch'], self.fitting)}  step {row['step']}"
        line = f"{epoch}  {describe(row, self.fitting.flow.unit)}  lr {row['lr']:.2g}  {row['seconds']:.1f} s"
        self.console.print(line, highlight=False, soft_wrap=True)


def reporter(console: Console, fitting: Fitting, history: History) -> Callback:
    """What suits the console."""
    return (Bar if console.is_terminal else Lines)(console, fitting, history)
