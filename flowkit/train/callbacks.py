"""What happens around the training steps: the moving average, validation, metrics, the checkpoint."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from flowkit.errors import DataError, TrainingError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.train.checkpoint import COLUMNS, Checkpoint, Row, standing, tensors_of
from flowkit.train.directory import CHECKPOINT, METRICS
from flowkit.train.evaluation import evaluate
from flowkit.train.step import ADVICE, Fitting
from flowkit_runtime.writing import replacing


class Average(Callback):
    """The exponential moving average of the weights, a second flow.

    After step t = 0, 1, …: average <- d average + (1 - d) weights, d = min(decay, (1 + t) / (10 + t)), so a
    short run isn't held back by its initial weights. (Lightning's own average walks over the tensors one by
    one, and works by swapping two models around Lightning's validation loop, which we don't use.)
    """

    def __init__(self, flow: Flow, decay: float):
        self.source, self.decay, self.steps = flow, decay, 0
        self.flow = copy.deepcopy(flow).requires_grad_(False)

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.flow.to(module.device)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        weights = [parameter.detach() for parameter in self.source.parameters()]
        get_ema_multi_avg_fn(decay)(list(self.flow.parameters()), weights, self.steps)
        self.steps += 1

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        for average, current in zip(self.flow.buffers(), self.source.buffers(), strict=True):
            average.copy_(current)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        self.steps = checkpoint.steps
        self.flow.load_state_dict(checkpoint.average)


class Validation(Callback):
    """Scores the flow every few epochs and after the last; keeps the best weights; ends the run early.

    The run ends after a validation if patience is lost, or if its time is used up.
    """

    def __init__(self, flow: Flow, fitting: Fitting, data: Arrays):
        self.flow, self.fitting, self.settings, self.data = flow, fitting, fitting.settings, data
        self.figure: float | None = None  # of this epoch
        self.best, self.best_epoch, self.waited = math.inf, 0, 0
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop = self._ends()  # it may have been killed right after it was to stop

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        epoch, self.figure = trainer.current_epoch + 1, None
        if trainer.should_stop or epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs:
            self.validate(epoch)
            trainer.should_stop = self._ends()

    def validate(self, epoch: int) -> None:
        """Score the flow as it is after ``epoch``; its weights are kept if no earlier ones did better."""
        try:
            self.figure = evaluate(self.flow, self.data, self.settings.batch_size, 1, "val")
        except DataError as error:  # of all events, if the weights are at fault
            raise TrainingError(f"epoch {epoch}: {error}: {ADVICE}") from error
        self.waited += 1
        if self.figure < self.best:
            self.best, self.best_epoch, self.waited = self.figure, epoch, 0
            self.weights = {name: value.cpu().clone() for name, value in self.flow.state_dict().items()}

    def _ends(self) -> bool:
        lost_patience = self.settings.patience is not None and self.waited >= self.settings.patience
        return lost_patience or self.fitting.stopwatch.share >= 1

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        self.best, self.best_epoch, self.waited = standing(checkpoint.rows)
        self.weights = checkpoint.best


class History(Callback):
    """One row an epoch. The file is written anew from what the checkpoint holds, so they never disagree."""

    def __init__(self, directory: Path, fitting: Fitting, validation: Validation):
        self.file, self.fitting, self.validation = directory / METRICS, fitting, validation
        self.rows: list[Row] = []

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.write()  # a resumed run drops the rows behind its checkpoint

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self.fitting.lr,
            "train": sum(self.fitting.losses) / len(self.fitting.losses),
            "val": self.validation.figure,
            "seconds": self.fitting.stopwatch.end_epoch(),
            "drift": self.fitting.drift,
        }
        self.rows.append(row)
        self.write()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        self.rows = checkpoint.rows

    def write(self) -> None:
        """Replace the file."""
        if not self.file.parent.is_dir():
            raise TrainingError(f"{self.file.parent} was removed while the flow was trained")
        with replacing(self.file) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


class LastCheckpoint(Callback):
    """Everything that a resumed run needs, after each epoch; the last of the callbacks."""

    def __init__(self, directory: Path, average: Average | None, validation: Validation, history: History):
        self.file, self.average, self.validation, self.history = directory / CHECKPOINT, average, validation, history

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        state = trainer.optimizers[0].state_dict()["state"]
        Checkpoint(
            self.history.rows,
            self.history.fitting.flow.state_dict(),
            self.average.flow.state_dict() if self.average else {},
            self.validation.weights,
            {index: tensors_of(values) for index, values in state.items()},
        ).write(self.file)
