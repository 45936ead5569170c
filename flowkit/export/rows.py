"""Whether each event is computed by itself: otherwise it has no density, and a graph's answers depend on the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.program import Step, decode_program, encode_program
from flowkit.flow import Flow
from flowkit.flow.layer_names import frozen_names

_TOLERANCE = 1e-6
"""As a share of the largest value, in fp64: where a flow doesn't magnify roundings, none is as large."""
_NUDGE = 1e-12
"""Relative: where this makes a difference, roundings may."""


def check_rows(exact: Flow, x: Tensor, context: Tensor | None) -> None:
    """Raises ExportError naming the first layer that gives the first or last of some events other values alone."""
    names, frozen = frozen_names(exact), exact.freeze()
    values = {"x": x} if context is None else {"x": x, "context": context}
    for program in (encode_program(frozen, names), decode_program(frozen, names)):
        values = program.run({name: values[name] for name in program.inputs})
        for step in program.steps:
            for row in (slice(0, 1), slice(-1, None)):
                _check(step, {name: value[row] for name, value in values.items()})


def _check(step: Step, among: Mapping[str, Tensor]) -> None:
    """``among`` others a row has these values."""
    alone = step.run(among)
    if _same(alone, [among[name] for name in step.outputs]):
        return
    if not _same(alone, step.run(among)):
        raise ExportError(f"{step.name} gives an event other values each time: it must depend on nothing else")
    if _same(alone, step.run({n: v * (1 + _NUDGE) if v.is_floating_point() else v for n, v in among.items()})):
        raise ExportError(
            f"rows depend on each other: {step.name} gives an event other values alone than among others. It must "
            "compute each by itself, without statistics of the batch"
        )


def _same(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    return all(
        torch.allclose(a, b, rtol=0, atol=_TOLERANCE * max(1.0, float(b.abs().max())), equal_nan=True)
        for a, b in zip(given, wanted, strict=True)
    )
