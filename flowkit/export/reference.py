"""What graphs are verified on: events like the data and unlike it, and the fp64 flow's answers to them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.precision import Precision, in_precision
from flowkit.flow import Flow
from flowkit_runtime import verification
from flowkit_runtime.verification import GROUPS, QUANTITIES, Arrays, Errors

ROWS = 64
"""Held-out events that a bundle carries."""
_NOISE = 16
_FAR = (10.0, 1e3, 1e6)  # times the range of the data

Batch = tuple[Tensor, Tensor | None]


def reference(
    exact: Flow, events: Tensor | None, context: Tensor | None, precision: Precision
) -> tuple[Arrays, Errors]:
    """The fp64 flow's answers to events, and the errors of the same flow in torch, in the precision of the graphs.

    ``events`` are held out, as the data has them; without them, samples of the flow are taken. Raises ExportError if
    the flow has no finite answer to one of them.
    """
    x, context, groups = _rows(exact, events, context)
    with np.errstate(over="ignore", invalid="ignore"):
        answers = _answers(exact, x, context)
        own = _own(exact, answers, precision)
    finite = np.logical_and.reduce([_finite(array) for array in [*answers.values(), *own.values()]])
    if not finite[groups == 0].all():
        where = exact.first_nonfinite(x[:ROWS], None if context is None else context[:ROWS])
        raise ExportError(
            f"the flow is not finite on held-out events in {precision}" + (f": see {where}" if where else "")
        )
    answers |= {"group": groups.astype(np.float64), "finite": finite.astype(np.float64)}
    errors = verification.compare(_latents(answers), exact.levels, answers, own)
    if precision == "float16":
        # Encoder and decoder can round what a network reads to different sides: that costs what 16 bits cost.
        errors = {g: e | {"round_trip": max(e["round_trip"], e["decoded"])} for g, e in errors.items()}
    return answers, {group: errors.get(group, dict.fromkeys(QUANTITIES, 0.0)) for group in GROUPS}


def _rows(exact: Flow, x: Tensor | None, context: Tensor | None) -> tuple[Tensor, Tensor | None, NDArray[np.int64]]:
    """Continuous events that fp32 can hold, of all groups, and their context."""
    if x is None:
        context = None if exact.context is None else _any_context(exact)
        x = exact.sample(ROWS, context, seed=0)
    held_out = exact.dequantize(x[:ROWS], torch.Generator().manual_seed(0))
    parts = [held_out, _unlike(exact, held_out), _extremes(exact, held_out)]
    groups = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if context is not None:
        context = context[torch.arange(len(groups)) % min(len(context), ROWS)]
        context = context.float().double() if context.is_floating_point() else context
    return torch.cat(parts).float().double(), context, groups


def _range(flow: Flow, held_out: Tensor) -> tuple[float, float]:
    """What the values of the data lie between."""
    if flow.levels is not None:
        return 0.0, float(flow.levels)
    return held_out.min().item(), held_out.max().item()


def _unlike(flow: Flow, held_out: Tensor) -> Tensor:
    """Constants, checkerboards and noise in the range of the data."""
    low, high = _range(flow, held_out)
    shape = flow.event_shape
    constants = [torch.full(shape, low + share * (high - low)) for share in (1 / 512, 1 / 2, 511 / 512)]
    parity = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).sum(0)
    boards = [
        torch.where((parity // size + flip) % 2 == 0, constants[0], constants[2]) for size in (1, 2) for flip in (0, 1)
    ]
    noise = torch.rand(_NOISE, *shape, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    return torch.cat([torch.stack([*constants, *boards]), noise]).double()


def _extremes(flow: Flow, held_out: Tensor) -> Tensor:
    """Values far outside of the range of the data, infinite, and NaN."""
    low, high = _range(flow, held_out)
    far = [value for times in _FAR for value in (low - times * (high - low), high + times * (high - low))]
    return torch.stack([torch.full(flow.event_shape, value) for value in (*far, math.inf, math.nan)]).double()


def _any_context(flow: Flow) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    assert flow.context is not None
    if flow.context.classes is not None:
        return torch.randint(flow.context.classes, (ROWS,), generator=generator)
    return torch.randn(ROWS, *(flow.context.shape or ()), generator=generator)


@torch.no_grad()
def _answers(flow: Flow, events: Tensor, context: Tensor | None) -> Arrays:
    """What the flow gives for these events, in its own precision: latents, log_prob, and x of the fp32 latents."""
    events = events.to(flow.dtype)
    latents, log_det = flow.forward_and_log_det(events, context)
    answers = {f"z_{i}": z for i, z in enumerate(latents, 1)}
    answers["log_prob"] = flow.latent_log_prob(latents) + log_det
    rounded = [z.float().to(flow.dtype) for z in latents]
    answers["decoded"] = flow.inverse_and_log_det(rounded, context)[0]
    answers["x"] = events
    if context is not None:
        answers["context"] = context
    return {name: tensor.numpy() for name, tensor in answers.items()}


def _own(exact: Flow, reference: Arrays, precision: Precision) -> Arrays:
    """The answers of the same flow in the precision of the graphs: the yardstick for those of onnxruntime."""
    flow = in_precision(copy.deepcopy(exact).float(), precision)
    tensors = {name: torch.from_numpy(array) for name, array in reference.items()}
    own = _answers(flow, tensors["x"], tensors.get("context"))
    own["round_trip"] = own["decoded"]  # fp32 latents are decoded as they are
    with torch.no_grad():
        latents = [tensors[name].float() for name in _latents(reference)]
        own["decoded"] = flow.inverse_and_log_det(latents, tensors.get("context"))[0].numpy()
    return own


def _latents(reference: Arrays) -> Sequence[str]:
    return [name for name in reference if name.startswith("z_")]


def _finite(array: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of each row, whether it is."""
    return np.logical_and.reduce(np.isfinite(array.reshape(len(array), -1)), axis=1)
