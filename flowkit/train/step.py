"""Defines the training step on Lightning Fabric, the moving average of the weights, and the measurement of time."""

from __future__ import annotations

import copy
import math
import time
import warnings
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from flowkit.bijectors.memory import DRIFT_LIMIT, DRIFT_LIMIT_BF16
from flowkit.errors import DriftWarning, TrainingError
from flowkit.flow import Flow
from flowkit.flow.layer_names import first_nonfinite
from flowkit.spec import Train
from flowkit.train.batches import Batch, shares
from flowkit.train.devices import gathered, summed
from flowkit.train.optimizer import learning_rate_factor, new_optimizer
from flowkit.train.sharding import gather_weights, undivided

ADVICE = (
    "try a lower train.optimizer.lr, a longer train.warmup, a smaller train.clip_norm or tighter bounds of "
    "scales, and look for outliers in the data"
)
FIRST_ADVICE = (
    "no weight has been trained yet, so the learning rate is not the cause: look for outliers and for other units in "
    "the data, and see whether the layers and the base distribution named here fit its range"
)


def derived_seed(*numbers: int) -> int:
    """Derive one seed from several numbers. Similar numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class Stopwatch:
    """Measures the seconds of epochs, including their validations. Interruptions don't count.

    ``whole`` is the time of all complete epochs, including those of earlier processes. ``limit`` is the time limit, or
    None.
    """

    def __init__(self, minutes: float | None):
        self.limit = None if minutes is None else 60 * minutes
        self.whole = 0.0
        self._started: float | None = None

    def start_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._started = time.perf_counter()

    def end_epoch(self) -> float:
        """Stop the clock and return the seconds of the epoch."""
        seconds = self.seconds - self.whole
        self.whole, self._started = self.whole + seconds, None
        return seconds

    @property
    def seconds(self) -> float:
        """The total time so far, in seconds."""
        return self.whole + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def share(self) -> float:
        """The share of the limit that is used. It is 0 without a limit."""
        return 0.0 if self.limit is None else self.seconds / self.limit


class Average:
    """The exponential moving average of a flow's parameters, kept in a second flow.

    After step t = 0, 1, … it is updated as average <- d average + (1 - d) weights, with d = min(decay, (1 + t) / (10 +
    t)). Small d at the start keep the initial weights from dominating the average of a short run. torch's AveragedModel
    has no such warm-up.
    """

    def __init__(self, flow: Flow, decay: float):
        self.source, self.decay = flow, decay
        self.flow = copy.deepcopy(flow).requires_grad_(False)

    def update(self, step: int) -> None:
        """Update the average with the parameters after ``step``."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [parameter.detach() for parameter in self.source.parameters()]
        get_ema_multi_avg_fn(decay)(list(self.flow.parameters()), weights, step)

    def copy_buffers(self) -> None:
        """Copy the buffers of the flow, which are not averaged, to the average."""
        for average, current in zip(self.flow.buffers(), self.source.buffers(), strict=True):
            average.copy_(current)


class Fitting:
    """Fits a flow by maximum likelihood, step by step. The loss is in bits/dim for integer data, otherwise in nats.

    The loss of a batch is the mean of its events' losses, each times its weight if there are weights. These have mean 1
    over all events.

    With several processes, each computes the gradients of its share of a batch, and all take the same step, that of the
    whole batch. The randomness of a step (dequantization, dropout) is a function of (seed, step), so that a resumed run
    takes the same steps as an uninterrupted one. The noise of dequantization is that of the whole batch, whatever the
    number of processes. Dropout and a dequantizer draw other numbers in each process.
    """

    def __init__(self, flow: Flow, settings: Train, steps_an_epoch: int, fabric: Fabric | None = None):
        self.flow, self.settings = flow, settings
        self.steps = math.inf if settings.epochs is None else settings.epochs * steps_an_epoch  # in all epochs
        self.fabric = fabric or Fabric(devices=1)
        flow.to(self.fabric.device)
        if self.fabric.world_size > 1:
            for tensor in flow.state_dict().values():
                torch.distributed.broadcast(tensor, 0)  # all start from the first one's weights
        self.average = None if settings.ema is None else Average(flow, settings.ema)
        self.model = self.fabric.setup_module(flow)
        if self.average and settings.strategy == "fsdp":
            self.fabric.setup_module(self.average.flow)
        # A flow that was sharded has other parameters than before.
        self.optimizer = cast(Optimizer, self.fabric.setup_optimizers(new_optimizer(settings, flow.parameters())))
        self.stopwatch = Stopwatch(settings.minutes)
        self.time_share = 0.0  # the used share of the time limit after the last step, by the clock of the first process
        self.global_step = 0  # counts the steps of all epochs, from 0
        self._steps_here = 0  # counts the steps of this process
        self.losses: list[float] = []  # the losses of this epoch's steps
        self.drift: float | None = None  # the largest drift of this epoch
        self._warned = False

    @property
    def validated(self) -> Flow:
        """The flow that is validated and saved: the moving average if there is one."""
        return self.average.flow if self.average else self.flow

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return self.optimizer.param_groups[0]["lr"]

    def start_epoch(self) -> None:
        """Begin an epoch."""
        self.stopwatch.start_epoch()
        self.losses.clear()
        self.drift = None

    def training_step(self, batch: Batch) -> None:
        """Take one step on a batch, which is the same in all processes.

        Raises TrainingError in all processes if the loss or the gradient isn't finite.
        """
        own = self._share_of(batch)
        self.optimizer.zero_grad()
        loss = self._backward(own, len(batch.x)).item()
        loss, drift, self.time_share = self._agreed(loss, self.flow.drift.read(), self.stopwatch.share)
        self.losses.append(self._finite(loss, "loss", own))
        self._watch_drift(drift)
        self._finite(self.clip_gradients().item(), "gradient", own)
        self._set_learning_rate()
        self.optimizer.step()
        if self.average:
            self.average.update(self.global_step)
        self.global_step += 1
        self._steps_here += 1

    def _share_of(self, batch: Batch) -> Batch:
        """Return this process's share of a batch, dequantized unless there is a dequantizer. Seed torch's generator."""
        rank, seed = self.fabric.global_rank, self.settings.seed
        torch.manual_seed(derived_seed(seed, self.global_step))
        batch = self.fabric.to_device(batch)
        if self.flow.dequantizer is None:
            batch = batch._replace(x=self.flow.dequantize(batch.x)[0])
        if rank > 0:
            torch.manual_seed(derived_seed(seed, self.global_step, rank))
        return batch.part(shares(len(batch.x), self.fabric.world_size)[rank])

    def _backward(self, own: Batch, batch_size: int) -> Tensor:
        """Add the gradients of the mean loss of a whole batch. Return what these events contribute to this mean.

        The gradients are those of all processes. They are computed a micro-batch at a time.
        """
        # All processes use the same number of micro-batches, because in the first step DDP exchanges gradients after
        # each one.
        parts = shares(len(own.x), min(self.settings.accumulate, batch_size // self.fabric.world_size))
        total = torch.zeros((), dtype=self.flow.dtype, device=self.fabric.device)
        for rows in parts:
            # DDP learns in the first step which parameters have gradients, and must exchange them each time.
            with self.fabric.no_backward_sync(self.model, enabled=rows is not parts[-1] and self._steps_here > 0):
                loss = self._losses(own.part(rows)).sum() / batch_size
                # The gradients that are exchanged are the mean of those of the processes, not their sum.
                self.fabric.backward(loss * self.fabric.world_size)
            total += loss.detach()
        return total

    def _losses(self, batch: Batch) -> Tensor:
        """Return the loss of each event, [batch], times its weight."""
        x, context, weights = batch
        log_q: Tensor | float = 0.0
        if self.flow.dequantizer is not None:
            x, log_q = self.flow.dequantize(x)
        # Fabric's bf16-mixed precision would also round the events to bf16.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            losses = self.flow.in_unit(self.model(x, context) - log_q)
            return losses if weights is None else weights * losses

    def _agreed(self, loss: float, drift: float | None, share: float) -> tuple[float, float | None, float]:
        """Return the sum of the losses of all processes, their largest drift, and the share of the time of the first.

        So all processes decide the same.
        """
        if self.fabric.world_size == 1:
            return loss, drift, share
        values = torch.zeros(self.fabric.world_size, 3, dtype=torch.float64)
        values[self.fabric.global_rank] = torch.tensor([loss, drift or 0.0, share], dtype=torch.float64)
        losses, drifts, shares_of_time = summed(self.fabric, values).T.tolist()
        return sum(losses), None if drift is None else max(drifts), shares_of_time[0]

    def end_epoch(self) -> None:
        """Update the buffers of the moving average after the last step of an epoch."""
        if self.average:
            self.average.copy_buffers()

    def clip_gradients(self) -> Tensor:
        """Scale the gradients down to the norm train.clip_norm, if theirs is larger. Return the norm before scaling."""
        limit = math.inf if self.settings.clip_norm is None else self.settings.clip_norm
        return undivided(torch.nn.utils.clip_grad_norm_(self.flow.parameters(), limit))

    def _set_learning_rate(self) -> None:
        settings = self.settings
        factor = learning_rate_factor(self.global_step, self.steps, settings.warmup, settings.schedule, self.time_share)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.optimizer.lr * factor

    def _watch_drift(self, drift: float | None) -> None:
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

    def _finite(self, number: float, what: str, own: Batch) -> float:
        if math.isfinite(number):
            return number
        gather_weights(self.flow)
        layer = next(filter(None, gathered(self.fabric, self._first_nonfinite(own))), None)
        where = f"the first output that isn't finite is of {layer}" if layer else "all outputs are finite"
        advice = FIRST_ADVICE if self.global_step == 0 else ADVICE
        raise TrainingError(f"step {self.global_step}: the {what} is {number}; {where}: {advice}")

    @torch.no_grad()
    def _first_nonfinite(self, own: Batch) -> str | None:
        if self.flow.dequantizer is None:
            return first_nonfinite(self.flow, own.x, own.context)
        x, log_q = self.flow.dequantize(own.x)
        if not (x.isfinite().all() and log_q.isfinite().all()):
            return "the dequantizer"
        return first_nonfinite(self.flow, x, own.context)
