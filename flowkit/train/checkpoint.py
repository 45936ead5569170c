"""Writes and reads checkpoints/last.ckpt, the state of a run after an epoch. It is a safetensors file without pickles.

- rows: the rows of metrics.csv, float64 [epochs, 7]; NaN where there was no validation, or no drift
- weights/NAME, average/NAME, best/NAME: the tensors of the flow, of its moving average, and of the best epoch
- optimizer/INDEX/KEY: the optimizer's state of the parameter with that index

Everything else follows from these and the spec. A file with any other content is rejected before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, FiniteFloat, NonNegativeFloat, ValidationError
from torch import Tensor, nn

from flowkit.errors import RunError
from flowkit.flow import Flow
from flowkit.flow.saving import check_tensors, read_tensors, write_tensors
from flowkit.spec import Train
from flowkit.spec.run import first_invalid
from flowkit.train.optimizer import new_optimizer

ANEW = "remove it, and the run begins anew"


class Row(BaseModel):
    """A line of metrics.csv: one epoch, counted from 1.

    ``step`` and ``lr`` are those of the epoch's last step. ``drift`` is the largest of the epoch.
    """

    epoch: int
    step: int
    lr: FiniteFloat
    train: FiniteFloat
    val: FiniteFloat | None
    seconds: FiniteFloat
    drift: NonNegativeFloat | None  # it may be infinite


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch.

    ``average`` is empty without a moving average. ``best`` is empty before the first validation.
    """

    rows: list[Row]
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]

    def write(self, path: Path) -> None:
        """Write the checkpoint to ``path``, and replace the file that is there."""
        values = [[math.nan if value is None else value for _, value in row] for row in self.rows]
        parts = {"weights": self.weights, "average": self.average, "best": self.best}
        parts |= {f"optimizer/{index}": state for index, state in self.optimizer.items()}
        write_tensors({"rows": torch.tensor(values, dtype=torch.float64), **_joined(parts)}, path)


def read_checkpoint(path: Path, flow: Flow, settings: Train, steps_an_epoch: int) -> Checkpoint:
    """Read a checkpoint that ``Checkpoint.write`` wrote.

    Raises RunError unless it is a valid checkpoint of this training.
    """
    tensors = read_tensors(path, ANEW)
    try:
        rows = _rows(tensors.pop("rows", None), steps_an_epoch)
        _check(tensors, rows, flow, settings)
    except ValueError as error:
        raise RunError(f"{path} isn't one of this run ({error}): {ANEW}") from error
    weights, average, best = (_below(f"{part}/", tensors) for part in ("weights", "average", "best"))
    states = {i: _below(f"optimizer/{i}/", tensors) for i, _ in enumerate(flow.parameters())}
    return Checkpoint(rows, weights, average, best, {i: state for i, state in states.items() if state})


def standing(rows: Sequence[Row]) -> tuple[float, int, int]:
    """Return the lowest validation score, its epoch, and the number of validations since then.

    Before the first validation these are ∞, 0 and 0.
    """
    figures = [(row.val, row.epoch) for row in rows if row.val is not None]
    best, best_epoch = min(figures, default=(math.inf, 0))
    return best, best_epoch, sum(epoch > best_epoch for _, epoch in figures)


def _rows(table: Tensor | None, steps_an_epoch: int) -> list[Row]:
    columns = list(Row.model_fields)
    shape = [] if table is None else list(table.shape)
    if table is None or table.dtype != torch.float64 or shape[1:] != [len(columns)] or shape[0] == 0:
        raise ValueError("it holds no rows of metrics")
    rows, steps = [], 0
    for epoch, values in enumerate(table.tolist(), 1):
        known = [None if math.isnan(value) else value for value in values]
        try:
            row = Row(**dict(zip(columns, known, strict=True)))
        except ValidationError as error:
            raise ValueError(f"its row {epoch}: {first_invalid(error)}") from error
        if row.epoch != epoch or not 1 <= row.step - steps <= steps_an_epoch:  # fewer if the time limit ended the epoch
            raise ValueError(f"its row {epoch} is not that of an epoch of {steps_an_epoch} steps")
        steps = row.step
        rows.append(row)
    return rows


def _check(tensors: Mapping[str, Tensor], rows: list[Row], flow: Flow, settings: Train) -> None:
    """Raise ValueError unless the tensors are exactly those that this training keeps."""
    weights = flow.state_dict()
    parts = {"weights": weights}
    if settings.ema is not None:
        parts["average"] = weights
    if any(row.val is not None for row in rows):
        parts["best"] = weights
    there = {name.rpartition("/")[0] for name in tensors}
    for index, parameter in enumerate(flow.parameters()):
        if (part := f"optimizer/{index}") in there:  # a parameter that never had a gradient has no state
            parts[part] = _state(parameter, settings)
            step = tensors.get(f"{part}/step")
            if step is not None and not ((step >= 1) & (step <= rows[-1].step)).all():
                raise ValueError(f"{part}/step is not a step of its epochs")
    check_tensors(tensors, _joined(parts))


def _state(parameter: nn.Parameter, settings: Train) -> dict[str, Tensor]:
    """Return tensors with the names, shapes and dtypes of the optimizer's state of a parameter."""
    probe = nn.Parameter(torch.zeros_like(parameter))
    probe.grad = torch.zeros_like(probe)
    optimizer = new_optimizer(settings, [probe])
    optimizer.step()
    return tensors_of(optimizer.state[probe])


def tensors_of(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Return only the tensors of the optimizer's state of a parameter."""
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
