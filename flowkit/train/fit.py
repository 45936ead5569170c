"""Trains a flow epoch by epoch: it validates, keeps the best weights, writes checkpoints, and decides when to stop."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from flowkit.errors import DataError, InputError, InterruptedWarning, RunError, ScheduleWarning, TrainingError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, PartName
from flowkit.spec import Train
from flowkit.spec.run import RESULTS, SPEC
from flowkit.train.batches import Batch, count_batches, shuffled, take
from flowkit.train.checkpoint import Checkpoint, Row, read_checkpoint, standing, tensors_of
from flowkit.train.contracts import check_outputs, check_weights
from flowkit.train.directory import CHECKPOINT
from flowkit.train.evaluation import evaluate
from flowkit.train.report import Report
from flowkit.train.sharding import divided, load_undivided, undivided
from flowkit.train.step import ADVICE, Fitting
from flowkit.train.units import check_units

Keep = Callable[[Checkpoint], None]
"""Keeps the state of a training after an epoch."""

MAX_INITIAL_ROWS = 512
"""The most events that data-dependent initialization uses."""


@dataclass(frozen=True)
class Trained:
    """The weights with the best validation score, that score and its epoch, and a row of metrics for each epoch."""

    weights: dict[str, Tensor]
    best: float
    best_epoch: int
    rows: list[Row]


def find_checkpoint(flow: Flow, settings: Train, data: Arrays, directory: Path) -> Checkpoint | None:
    """Read the run's checkpoint. Return None if it has none yet.

    Raises RunError if the checkpoint doesn't belong to this run, or if it is missing though the run is finished.
    """
    path = directory / CHECKPOINT
    if path.exists():
        return read_checkpoint(path, flow, settings, count_batches(data, settings.batch_size))
    if (directory / RESULTS).exists():
        raise RunError(
            f"{directory} is finished, and its {CHECKPOINT} is gone, so it can't be trained on: if only its data has "
            f"moved, edit `data` in its {SPEC}, otherwise train anew"
        )
    return None


def check_goes_on(checkpoint: Checkpoint, settings: Train, directory: Path) -> None:
    """Raise RunError if the settings leave nothing to train after the checkpoint.

    A run that isn't finished may have all of its epochs behind it.
    """
    done = len(checkpoint.rows)
    if settings.epochs is not None and done > settings.epochs:
        raise RunError(
            f"{directory} has {done} epochs behind it, more than train.epochs: {settings.epochs}: set {done} or more; "
            f"`flowkit train --resume {directory} --finish` finishes it as it is"
        )
    if (directory / RESULTS).exists() and (reason := ended(settings, checkpoint.rows)):
        raise RunError(f"{directory} is finished and there is nothing left to train: {reason}; set this field higher")


def ended(settings: Train, rows: Sequence[Row]) -> str | None:
    """Return the reason why training ends after these epochs, or None if it goes on."""
    done = len(rows)
    _, best_epoch, waited = standing(rows)
    if done == settings.epochs:
        return f"train.epochs: {done} are done"
    if settings.minutes is not None and sum(row.seconds for row in rows) >= 60 * settings.minutes:
        return f"train.minutes: {settings.minutes:g} are used up"
    if settings.patience is not None and waited >= settings.patience:
        return f"no better validation since epoch {best_epoch} (train.patience: {settings.patience})"
    return None


def check_trainable(flow: Flow, data: Mapping[PartName, Arrays], fabric: Fabric) -> None:
    """Raise DataError for fewer training events than processes, and InputError if the density has no parameters.

    Raise PluginError for a plugin that doesn't keep its contract.
    """
    events = len(data["train"].x)
    if events < fabric.world_size:
        raise DataError(f"{events} events are less than one for each of {fabric.world_size} processes")
    check_weights(flow)
    plain = copy.deepcopy(flow).eval()  # a copy isn't compiled
    x, context, _ = take(data["train"], slice(0, 5))
    check_outputs(plain, x, context)
    if not plain.nll(x, context).requires_grad:
        raise InputError("there is nothing to train: the density depends on no parameter; add layers that learn")


def fit_flow(
    flow: Flow,
    settings: Train,
    data: Mapping[PartName, Arrays],
    fabric: Fabric,
    console: Console,
    checkpoint: Checkpoint | None = None,
    keep: Keep | None = None,
) -> Trained:
    """Train to the end, from the checkpoint or from the start. Leave the flow as it was trained last.

    ``data`` has the parts train and val. ``keep`` is called with the state after each epoch, and ``console`` shows the
    progress. Both belong to the first of the processes that ``fabric`` connects. Raises TrainingError if a loss isn't
    finite. Without ``keep``, Ctrl-C ends the training after a whole epoch with a warning: nothing else would remember
    it.
    """
    if checkpoint is None:
        flow.to(fabric.device)
        first = _initialize(flow, next(shuffled(data["train"], settings.batch_size, settings.seed, 0)))
        if fabric.is_global_zero:
            check_units(flow, *first)
    training = Training(flow, settings, data, checkpoint, keep, fabric)
    try:
        training.train(console)
    except KeyboardInterrupt:
        if keep is not None or not training.rows or fabric.world_size > 1:
            raise
        epochs = f"{len(training.rows)} whole epochs" if len(training.rows) > 1 else "one whole epoch"
        warnings.warn(
            f"interrupted after {epochs}: these are the best weights so far", InterruptedWarning, stacklevel=5
        )
    return training.finish()


def _initialize(flow: Flow, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Initialize the flow on the first events, and return them. One of weight w is taken about w times."""
    x, context, weights = (None if each is None else each[:MAX_INITIAL_ROWS].to(flow.device) for each in batch)
    assert x is not None
    if weights is not None:
        steps = (torch.arange(len(x), device=x.device) + 0.5) / len(x)
        chosen = torch.searchsorted(weights.cumsum(0) / weights.sum(), steps).clamp(max=len(x) - 1)
        x, context = x[chosen], None if context is None else context[chosen]
    flow.initialize(flow.dequantize(x)[0], context)
    return x, context


def _check_warmup(settings: Train, steps: float) -> None:
    """Warn if all steps of a training belong to the warm-up."""
    if settings.warmup >= steps:
        warnings.warn(
            f"train.warmup: {settings.warmup:,} steps, but this training has only {steps:,}. So the learning "
            f"rate never reaches {settings.optimizer.lr:g}: set train.warmup={steps // 10}, or more train.epochs",
            ScheduleWarning,
            stacklevel=4,
        )


class Training:
    """The training of a flow. ``keep`` is called after each epoch with all that is needed to resume it."""

    def __init__(
        self,
        flow: Flow,
        settings: Train,
        data: Mapping[PartName, Arrays],
        checkpoint: Checkpoint | None,
        keep: Keep | None,
        fabric: Fabric,
    ):
        self.settings, self.data, self.keep = settings, data, keep
        self.fitting = Fitting(flow, settings, count_batches(data["train"], settings.batch_size), fabric)
        self.rows: list[Row] = []
        self.best: dict[str, Tensor] = {}  # the weights of the epoch with the best validation score
        self.unscored: dict[str, Tensor] = {}  # the weights after the last epoch, if only an interruption scores them
        if checkpoint is not None:
            self._restore(checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.rows, self.best = checkpoint.rows, checkpoint.best
        fitting, optimizer = self.fitting, self.fitting.optimizer
        load_undivided(fitting.flow, checkpoint.weights)
        if fitting.average:
            load_undivided(fitting.average.flow, checkpoint.average)
        parameters = list(fitting.flow.parameters())
        states = {
            index: {key: divided(value, parameters[index]) for key, value in state.items()}
            for index, state in checkpoint.optimizer.items()
        }
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
        fitting.global_step = self.rows[-1].step
        fitting.stopwatch.whole = sum(row.seconds for row in self.rows)

    def train(self, console: Console) -> None:
        """Train one epoch after another, until the settings end the training."""
        if self.fitting.fabric.is_global_zero:
            _check_warmup(self.settings, self.fitting.steps)
        report = Report(console if self.fitting.fabric.is_global_zero else Console(quiet=True), self.fitting)
        with report.bar:
            while not (reason := ended(self.settings, self.rows)):
                self._train_epoch(report)
        report.end(len(self.rows), reason)

    def _train_epoch(self, report: Report) -> None:
        fitting, settings, epoch = self.fitting, self.settings, len(self.rows) + 1
        report.start_epoch(epoch)
        fitting.start_epoch()
        for batch in shuffled(self.data["train"], settings.batch_size, settings.seed, epoch - 1):
            fitting.training_step(batch)
            report.end_step()
            if fitting.time_share >= 1:
                break
        fitting.end_epoch()
        last = epoch == settings.epochs or fitting.time_share >= 1
        row = Row(
            epoch=epoch,
            step=fitting.global_step,
            lr=fitting.lr,
            train=sum(fitting.losses) / len(fitting.losses),
            val=self.validate(epoch) if last or epoch % settings.validate_every == 0 else None,
            seconds=fitting.stopwatch.end_epoch(),
            drift=fitting.drift,
        )
        self.rows.append(fitting.fabric.broadcast(row))  # so that all processes decide the same
        self.unscored = _kept(fitting.validated) if self.keep is None and row.val is None else {}
        self.save()
        report.end_epoch(row, last=ended(settings, self.rows) is not None)

    def validate(self, epoch: int) -> float:
        """Return the flow's validation score after ``epoch``. If it is the best so far, keep the weights."""
        flow = self.fitting.validated
        try:
            settings, fabric = self.settings, self.fitting.fabric
            figure = evaluate(flow, self.data["val"], settings.batch_size, 1, "val", fabric, settings.accumulate)
        except DataError as error:  # if the weights are at fault, no event has a finite score
            raise TrainingError(f"epoch {epoch}: {error}: {ADVICE}") from error
        if figure < standing(self.rows)[0]:
            self.best = _kept(flow)
        return figure

    def finish(self) -> Trained:
        """Validate the last epoch if it wasn't validated, because the run was planned to be longer."""
        if self.rows[-1].val is None:
            if self.unscored:  # some steps of the next epoch may have been taken since
                load_undivided(self.fitting.validated, self.unscored)
            self.rows[-1].val = self.validate(len(self.rows))
            self.save()
        best, best_epoch, _ = standing(self.rows)
        return Trained(self.best, best, best_epoch, self.rows)

    def save(self) -> None:
        """Hand over the state after the last epoch, in the first process."""
        if self.keep is None:
            return
        fitting = self.fitting
        optimizer = fitting.optimizer.state_dict()["state"]
        checkpoint = Checkpoint(
            self.rows,
            _undivided(fitting.flow.state_dict()),
            _undivided(fitting.average.flow.state_dict()) if fitting.average else {},
            self.best,
            {index: _undivided(tensors_of(state)) for index, state in optimizer.items()},
        )
        if fitting.fabric.is_global_zero:
            self.keep(checkpoint)


def _kept(flow: Flow) -> dict[str, Tensor]:
    """Return copies of the weights, whole and on the CPU."""
    return {name: undivided(value).cpu().clone() for name, value in flow.state_dict().items()}


def _undivided(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: undivided(tensor) for name, tensor in state.items()}
