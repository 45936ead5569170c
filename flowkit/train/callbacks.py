"""What happens around the training steps: the moving average, validation, metrics, the checkpoint."""

from __future__ import annotations

import copy
import csv
import math
import time
from pathlib import Path
from typing import Any, TypedDict

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from flowkit.errors import TrainingError
from flowkit.files import replacing
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Train
from flowkit.train.directory import CHECKPOINT, METRICS
from flowkit.train.figures import evaluate
from flowkit.train.module import ADVICE, Fitting


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

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "weights": self.flow.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.flow.load_state_dict(state["weights"])


class Validation(Callback):
    """Scores the flow every few epochs and after the last; keeps the best weights; runs out of patience."""

    STATE = ("best", "best_epoch", "waited", "weights")

    def __init__(self, flow: Flow, settings: Train, data: Arrays):
        self.flow, self.settings, self.data = flow, settings, data
        self.figure: float | None = None  # of this epoch
        self.best, self.best_epoch, self.waited = math.inf, 0, 0
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop = self._lost_patience()  # it may have been killed right after it was to stop

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        epoch, self.figure = trainer.current_epoch + 1, None
        if epoch % self.settings.validate_every and epoch != self.settings.epochs:
            return
        self.figure = evaluate(self.flow, self.data, self.settings.batch_size)
        if not math.isfinite(self.figure):
            raise TrainingError(f"epoch {epoch}: the validation figure is {self.figure}: {ADVICE}")
        self.waited += 1
        if self.figure < self.best:
            self.best, self.best_epoch, self.waited = self.figure, epoch, 0
            self.weights = {name: value.cpu().clone() for name, value in self.flow.state_dict().items()}
        trainer.should_stop = self._lost_patience()

    def _lost_patience(self) -> bool:
        return self.settings.patience is not None and self.waited >= self.settings.patience

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["weights"]:
            copy.deepcopy(self.flow).load_state_dict(state["weights"])  # raises if they are another flow's
        vars(self).update({name: state[name] for name in self.STATE})


class Row(TypedDict):
    """A line of metrics.csv: one epoch, counted from 1; step and lr are those of its last step."""

    epoch: int
    step: int
    lr: float
    train: float
    val: float | None
    seconds: float


class History(Callback):
    """One row an epoch. The file is written anew from what the checkpoint holds, so they never disagree."""

    def __init__(self, directory: Path, fitting: Fitting, validation: Validation):
        self.file, self.fitting, self.validation = directory / METRICS, fitting, validation
        self.rows: list[Row] = []

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._write()  # a resumed run drops the rows behind its checkpoint

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self.fitting.lr,
            "train": sum(self.fitting.losses) / len(self.fitting.losses),
            "val": self.validation.figure,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.rows.append(row)
        self._write()

    def _write(self) -> None:
        if not self.file.parent.is_dir():
            raise TrainingError(f"{self.file.parent} was removed while the flow was trained")
        with replacing(self.file) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(Row.__annotations__))
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class LastCheckpoint(Checkpoint):
    """Everything that a resumed run needs, after each epoch. Lightning calls it after the others."""

    def __init__(self, directory: Path):
        self.file = directory / CHECKPOINT

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        with replacing(self.file) as temporary:
            trainer.save_checkpoint(temporary, weights_only=False)  # the optimizer's state as well
