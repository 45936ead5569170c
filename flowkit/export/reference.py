"""What graphs are verified on: events like the data and unlike it, and the fp64 flow's answers to them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.bijectors import Bijector
from flowkit.bijectors.channel_linear import FrozenChannels
from flowkit.errors import ExportError
from flowkit.export.precision import COMPUTED_IN, Precision, in_precision
from flowkit.export.program import Program, decode_program, encode_program
from flowkit.export.rows import check_rows
from flowkit.flow import Flow
from flowkit.flow.layer_names import first_nonfinite
from flowkit_runtime import verification
from flowkit_runtime.verification import GROUPS, QUANTITIES, Arrays, Errors

ROWS = 64
"""Held-out events that a bundle carries."""
LOST = 0.01
"""The error, as a share of the largest value, from which on an answer is noise."""
_NOISE = 16
_FAR = (10.0, 1e3, 1e6)  # times the range of the data
_NEIGHBOURS, _VALUES = 8, 3000
"""Of each row, and the most values that they may have. Where a flow magnifies roundings, one row's error is luck: over
its neighbours, some roundings away, torch's own runs from a tenth to ten times its median. So torch's error is the
largest of the row's and of its neighbours'; a row unlike the data is judged if torch keeps digits of all of them. In
large events the largest error is one of many as it is."""


def reference(
    exact: Flow, events: Tensor | None, context: Tensor | None, precision: Precision
) -> tuple[Arrays, Errors]:
    """The fp64 flow's answers to events, and the errors of the same flow in torch, in the precision of the graphs.

    ``events`` are held out, as the data has them; without them, samples of the flow are taken. Judged are rows of which
    torch itself keeps some digits, and all that are held out. Raises ExportError if it isn't finite on one of those,
    or if rows depend on each other.
    """
    x, context, groups = _rows(exact, events, context)
    held_out, rows = int((groups == 0).sum()), len(x)
    like_data = x[:held_out], None if context is None else context[:held_out]
    check_rows(exact, *like_data)
    x, context, groups = _with_neighbours(x, context, groups, precision)
    with np.errstate(over="ignore", invalid="ignore"):
        answers = _answers(exact, x, context)
        own = [_own(flow, answers, precision) for flow in _rounding_otherwise(exact)]
        judged = _judged(answers, own, groups, rows)
    if not judged[:held_out].all():
        where = first_nonfinite(_single(exact, precision), like_data[0].float(), like_data[1])
        raise ExportError(
            f"in {precision} the flow is not finite on held-out events: see {where or 'its base, or its inverse'}"
        )
    answers |= {"group": groups.astype(np.float64), "judged": judged.astype(np.float64)}
    each = [verification.compare(_latents(answers), exact.levels, answers, of_flow) for of_flow in own]
    by_group = {group: [errors[group] for errors in each if group in errors] for group in GROUPS}
    torch_errors = {group: _largest(errors, group, precision) for group, errors in by_group.items()}
    return {name: array[:rows] for name, array in answers.items()}, torch_errors


def _judged(answers: Arrays, own: Sequence[Arrays], groups: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """Of which rows torch itself keeps some digits: unlike the data, of a row and all its neighbours, or of none."""
    within = np.where(groups == 0, np.inf, LOST)  # far from the data the digits run out
    judged = np.logical_and.reduce([_right(answers, each, within) for each in own])
    families = judged.reshape(-1, rows)  # the rows, and each set of their neighbours
    unlike = groups[:rows] != 0
    families[:, unlike] = families[:, unlike].all(axis=0)
    return families.ravel()


def _right(wanted: Arrays, given: Arrays, within: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of which rows a flow's answers are finite, and off by less than this share of the largest value."""
    right = np.isfinite(wanted["log_prob"])
    for name in [*_latents(wanted), "log_prob", "decoded", "round_trip"]:
        exact = wanted["x" if name == "round_trip" else name].reshape(len(right), -1)
        error = abs(given[name].reshape(exact.shape) - exact).max(axis=1)
        right &= error < within * np.maximum(1.0, abs(exact).max(axis=1))
    return right


def _largest(each: Sequence[dict[str, float]], group: str, precision: Precision) -> dict[str, float]:
    """Of each quantity, the largest error.

    ``decoded`` and ``round_trip`` are one decoder's, at latents a rounding apart. Off the data, where a flow magnifies
    that, which of the two is the larger is luck: both count as the larger. In 16 bits the round trip's may be as large
    on the data too: encoder and decoder can round what a network reads to different sides.
    """
    errors = {quantity: max((errors[quantity] for errors in each), default=0.0) for quantity in QUANTITIES}
    decoder = max(errors["decoded"], errors["round_trip"])
    if group != "held-out":
        errors["decoded"] = errors["round_trip"] = decoder
    elif precision == "float16":
        errors["round_trip"] = decoder
    return errors


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


def _with_neighbours(
    x: Tensor, context: Tensor | None, groups: NDArray[np.int64], precision: Precision
) -> tuple[Tensor, Tensor | None, NDArray[np.int64]]:
    """The rows, and after them their neighbours, some roundings of graphs of that precision away, set by set."""
    again = np.tile(np.arange(len(x)), min(_NEIGHBOURS, _VALUES // x[0].numel()))
    sign = torch.rand(len(again), *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype) * 2 - 1
    near = (x[again] * (1 + 4 * torch.finfo(COMPUTED_IN[precision]).eps * sign)).float().double()
    given = None if context is None else torch.cat([context, context[again]])
    return torch.cat([x, near]), given, np.concatenate([groups, groups[again]])


def _any_context(flow: Flow) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    assert flow.context is not None
    if flow.context.classes is not None:
        return torch.randint(flow.context.classes, (ROWS,), generator=generator)
    return torch.randn(ROWS, *(flow.context.shape or ()), generator=generator)


def _answers(flow: Flow, x: Tensor, context: Tensor | None) -> Arrays:
    """What the flow gives for these events, in their precision: latents, log_prob, and x of the fp32 latents."""
    encode, decode = _programs(flow)
    given = {} if context is None else {"context": context}
    values = encode.run({"x": x, **given})
    answers = {name: values[name] for name in encode.outputs}
    latents = {name: answers[name].float().to(x.dtype) for name in _latents(answers)}
    answers |= {"decoded": decode.run(latents | given)["x"], "x": x, **given}
    return {name: tensor.numpy() for name, tensor in answers.items()}


def _own(exact: Flow, reference: Arrays, precision: Precision) -> Arrays:
    """The answers of the same flow in the precision of the graphs: the yardstick for those of onnxruntime."""
    flow = _single(exact, precision)
    tensors = {name: torch.from_numpy(array) for name, array in reference.items()}
    own = _answers(flow, tensors["x"].float(), tensors.get("context"))
    own["round_trip"] = own["decoded"]  # fp32 latents are decoded as they are
    _, decode = _programs(flow)
    latents = {name: tensors[name].float() for name in _latents(reference)}
    given = {"context": tensors["context"]} if "context" in tensors else {}
    own["decoded"] = decode.run(latents | given)["x"].numpy()
    return own


def _single(exact: Flow, precision: Precision) -> Flow:
    """The flow in fp32, with its networks in the precision of the graphs."""
    return in_precision(copy.deepcopy(exact).float(), precision)


def _rounding_otherwise(exact: Flow) -> list[Flow]:
    """The flow in forms that round in other places: layer by layer, frozen, and frozen as graphs add an offset."""
    frozen, unfused = exact.freeze(), exact.freeze()
    for index, layer in enumerate(unfused.layers):
        if isinstance(layer, FrozenChannels):
            unfused.layers[index] = _Unfused(layer)  # type: ignore[index]
    return [exact, frozen, unfused]


class _Unfused(FrozenChannels):
    """A channel map whose product is rounded before the offset is added, as in onnxruntime.

    torch does both at once, and loses nothing where one is nearly the other's opposite: 257 v + 128.5 at v ≈ -½.
    """

    def __init__(self, fused: FrozenChannels) -> None:
        Bijector.__init__(self, fused.event_shape)
        for name, tensor in fused.named_buffers():
            self.register_buffer(name, tensor)

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return super()._affine(x, weight, torch.zeros_like(bias)) + bias.view(-1, *(1,) * (x.dim() - 2))


def _programs(flow: Flow) -> tuple[Program, Program]:
    """The encoder and the decoder, which run layer by layer."""
    names = [type(layer).__name__ for layer in flow.layers]
    return encode_program(flow, names), decode_program(flow, names)


def _latents(reference: Iterable[str]) -> Sequence[str]:
    return [name for name in reference if name.startswith("z_")]
