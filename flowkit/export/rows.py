"""Whether each event is computed by itself: otherwise it has no density, and a graph's answers depend on the batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.program import Step, decode_program, encode_program
from flowkit.flow import Flow

_TOLERANCE = 1e-6
"""As a share of the largest value, in fp64: no rounding is as large."""


def check_rows(exact: Flow, x: Tensor, context: Tensor | None) -> None:
    """Raises ExportError naming the first layer that gives the first or last of some events other values alone."""
    names, frozen = exact.frozen_names(), exact.freeze()
    values = {"x": x} if context is None else {"x": x, "context": context}
    for program in (encode_program(frozen, names), decode_program(frozen, names)):
        values = program.run({name: values[name] for name in program.inputs})
        for step in program.steps:
            _check(step, values)


def _check(step: Step, values: Mapping[str, Tensor]) -> None:
    for row in (slice(0, 1), slice(-1, None)):
        alone = step.run({name: values[name][row] for name in step.inputs})
        for name, result in zip(step.outputs, alone, strict=True):
            atol = _TOLERANCE * max(1.0, float(result.abs().max()))
            if not torch.allclose(result, values[name][row], rtol=0, atol=atol, equal_nan=True):
                raise ExportError(
                    f"{step.name} gives an event other values alone than among others: its rows depend on each other, "
                    "or on what was computed before"
                )
