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


class Bar(Callback):
    """Steps of the whole run, with the figures of the last epoch."""

    def __init__(self, console: Console, fitting: Fitting, history: History):
        self.fitting, self.history = fitting, history
        words, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures)
        self.progress = Progress(*columns, console=console, refresh_per_second=4)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        total, done = self.fitting.steps, trainer.global_step
        self.task = self.progress.add_task("", total=total, completed=done, figures="")
        self.progress.start()

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        epoch = f"epoch {trainer.current_epoch + 1}/{self.fitting.settings.epochs}"
        self.progress.update(self.task, description=epoch)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.progress.update(self.task, figures=describe(self.history.rows[-1], self.fitting.flow.unit))

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
        epoch = f"epoch {row['epoch']}/{self.fitting.settings.epochs}  step {row['step']}"
        line = f"{epoch}  {describe(row, self.fitting.flow.unit)}  lr {row['lr']:.2g}  {row['seconds']:.1f} s"
        self.console.print(line, highlight=False, soft_wrap=True)


def reporter(console: Console, fitting: Fitting, history: History) -> Callback:
    """What suits the console."""
    return (Bar if console.is_terminal else Lines)(console, fitting, history)
