"""The training step: loss, optimizer, schedule, and a stop at the first number that isn't finite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from flowkit.bijectors.memory import DRIFT_LIMIT, DRIFT_LIMIT_BF16
from flowkit.errors import DriftWarning, TrainingError
from flowkit.flow import Flow
from flowkit.flow.layer_names import first_nonfinite
from flowkit.spec import Train
from flowkit.train.batches import Batch
from flowkit.train.checkpoint import Checkpoint
from flowkit.train.stopwatch import Stopwatch

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),  # one operator for all parameters: a small flow has hundreds
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adamax": torch.optim.Adamax,
    "sgd": torch.optim.SGD,
}

ADVICE = (
    "try a lower train.optimizer.lr, a longer train.warmup, a smaller train.clip_norm or tighter bounds of "
    "scales, and look for outliers in the data"
)


def derived_seed(*numbers: int) -> int:
    """One seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def learning_rate_factor(step: int, total: float, warmup: int, schedule: str, time_share: float = 0.0) -> float:
    """The share of the peak learning rate at step 0, 1, …: linear in the warm-up, then 1 or a cosine.

    The cosine ends after ``total`` steps or when all of the time is used, ``time_share`` 1, whichever comes first.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    done = max((step - warmup) / max(1, total - warmup), time_share)
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))


class Fitting(lightning.LightningModule):
    """Maximum likelihood. The loss is the flow's unit: bits/dim for integer data, nats otherwise.

    Randomness in a step (dequantization, dropout) is a function of (seed, epoch), so that a resumed run takes
    the steps that an uninterrupted one would have taken.
    """

    def __init__(self, flow: Flow, settings: Train, steps_an_epoch: int):
        super().__init__()
        self.flow, self.settings, self.steps_an_epoch = flow, settings, steps_an_epoch
        self.losses: list[float] = []  # of the steps of this epoch
        self.drift: float | None = None  # the worst of this epoch
        self.stopwatch = Stopwatch(settings.minutes)
        self._warned = False
        self.resumed: Checkpoint | None = None
        self._batch: Batch | None = None

    @property
    def steps(self) -> float:
        """The steps of all epochs; infinity if only the time limits them."""
        return math.inf if self.settings.epochs is None else self.settings.epochs * self.steps_an_epoch

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there; the optimizer, once there is one."""
        self.flow.load_state_dict(checkpoint.weights)
        self.stopwatch.whole = checkpoint.seconds
        self.resumed = checkpoint

    def on_train_epoch_start(self) -> None:
        self.stopwatch.start_epoch()
        self.losses.clear()
        self.drift = None
        torch.manual_seed(derived_seed(self.settings.seed, self.current_epoch))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        x, context = batch
        x = self.flow.dequantize(x)
        self._batch = (x, context)  # for a diagnosis
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            loss = self.flow.in_unit(self.flow(x, context)).mean()
            self.losses.append(self._finite(loss, "loss"))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.stopwatch.share >= 1:
            self.trainer.should_stop = True  # the epoch ends here

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Lightning calls this between the backward pass and the optimizer's step."""
        self.lr = optimizer.param_groups[0]["lr"]
        self._watch_drift()
        limit = self.settings.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.flow.parameters(), math.inf if limit is None else limit)
        self._finite(norm, "gradient")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings, watch, done = self.settings, self.stopwatch, 0
        optimizer = self.optimizer(self.flow.parameters())
        if self.resumed is not None:
            optimizer.load_state_dict(optimizer.state_dict() | {"state": self.resumed.optimizer})
            done = self.resumed.steps
        for group in optimizer.param_groups:
            group["initial_lr"] = settings.optimizer.lr  # a schedule that doesn't begin at 0 asks for it
        schedule = LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step, self.steps, settings.warmup, settings.schedule, watch.share),
            last_epoch=done - 1,  # the first thing that it does is a step
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """A new one of the settings' kind."""
        name, lr, weight_decay = (getattr(self.settings.optimizer, key) for key in ("name", "lr", "weight_decay"))
        return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)

    def _watch_drift(self) -> None:
        drift = self.flow.drift.read()
        if drift is None:
            return
        self.drift = max(drift, self.drift or 0.0)
        limit = DRIFT_LIMIT_BF16 if self.settings.precision == "bf16" else DRIFT_LIMIT
        if drift > limit and not self._warned:
            self._warned = True
            warnings.warn(
                f"step {self.global_step}: under memory: reversible inputs come back with an error of {drift:.1e}, and "
                f"beyond {limit:.0e} gradients can be off by more than 1%. Use memory: checkpoint, whose gradients "
                "are the stored ones, or tighter bounds of scales",
                DriftWarning,
                stacklevel=2,
            )

    def _finite(self, value: Tensor, what: str) -> float:
        number = value.item()
        if math.isfinite(number):
            return number
        assert self._batch is not None
        layer = first_nonfinite(self.flow, *self._batch)
        where = f"the first output that isn't finite is of {layer}" if layer else "all outputs are finite"
        raise TrainingError(f"step {self.global_step}: the {what} is {number}; {where}: {ADVICE}")
