"""What every bijector must do. Each check is a function of a Subject that raises AssertionError, saying what is wrong.

The judge of a log-det is the Jacobian by automatic differentiation, in fp64, on perturbed parameters: a round trip
proves nothing about it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import jacrev

from flowkit.flow import Bijector, ChannelLinear, Composition
from flowkit.flow.channel_linear import ChannelRun
from flowkit.flow.composition import frozen
from flowkit.flow.tracing import Forward, why_untraceable
from flowkit.testing.subject import Subject

LOG_DET_TOLERANCE = 1e-9
"""Relative (absolute below 1), of a log-det against autodiff, fp64."""
ROUND_TRIP_TOLERANCE = 1e-10
"""Absolute, fp64."""
MERGE_TOLERANCE = 1e-12
"""Relative to the largest value, of a merged run against its layers one by one, fp64."""

Map = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


def check_shapes(subject: Subject) -> None:
    """y is [batch, *output_shape], log_det is [batch], and back, for batches of 0, 1 and 3."""
    bijector = subject.bijector()
    for n in (0, 1, 3):
        x, context = subject.batch(n)
        y, log_det = bijector.forward_and_log_det(x, context)
        _equal("y", y.shape, (n, *bijector.output_shape))
        _equal("log_det", log_det.shape, (n,))
        back, log_det = bijector.inverse_and_log_det(y, context)
        _equal("x of the inverse", back.shape, x.shape)
        _equal("log_det of the inverse", log_det.shape, (n,))


def check_precision(subject: Subject) -> None:
    """fp32 gives fp32 and fp64 gives fp64, for values and log-dets, in both directions."""
    for dtype in (torch.float32, torch.float64):
        bijector = subject.bijector().to(dtype)
        x, context = subject.batch()
        for name, values in _both_ways(bijector, x.to(dtype), None if context is None else context.to(dtype)):
            for value in values:
                assert value.dtype == dtype, f"{name}: given {dtype}, got {value.dtype}"


def check_round_trip(subject: Subject) -> None:
    """inverse(forward(x)) = x and forward(inverse(y)) = y to 1e-10, and the log-dets cancel."""
    bijector = subject.bijector()
    x, context = subject.batch()
    y, there = bijector.forward_and_log_det(x, context)
    back, again = bijector.inverse_and_log_det(y, context)
    _close("inverse(forward(x)) - x", back, x, ROUND_TRIP_TOLERANCE)
    _close("forward log_det + inverse log_det", there, -again, LOG_DET_TOLERANCE * (1 + there.abs().max().item()))
    y, context = subject.batch(shape=bijector.output_shape)
    x, _ = bijector.inverse_and_log_det(y, context)
    _close("forward(inverse(y)) - y", bijector.forward_and_log_det(x, context)[0], y, ROUND_TRIP_TOLERANCE)


def check_log_det(subject: Subject) -> None:
    """Forward log_det is log|det| of the Jacobian by autodiff, to 1e-9."""
    bijector = subject.bijector()
    _check_against_autodiff("forward", bijector.forward_and_log_det, bijector, *subject.batch())


def check_inverse_log_det(subject: Subject) -> None:
    """Inverse log_det is log|det| of the Jacobian of the inverse by autodiff, to 1e-9."""
    bijector = subject.bijector()
    batch = subject.batch(shape=bijector.output_shape)
    _check_against_autodiff("inverse", bijector.inverse_and_log_det, bijector, *batch)


def check_gradients(subject: Subject) -> None:
    """Gradients of y and log_det, for x, the context and every parameter, are those of finite differences."""
    bijector = subject.bijector()
    x, context = subject.batch(2)
    inputs = [t.requires_grad_() for t in (x, context) if t is not None]
    names, parameters = zip(*bijector.named_parameters(), strict=True) if list(bijector.parameters()) else ((), ())

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = {f"bijector.{n}": v for n, v in zip(names, values[len(inputs) :], strict=True)}
        outputs = torch.func.functional_call(Forward(bijector), given, values[: len(inputs)])
        tie = sum(value.sum() for value in values) * 0  # gradcheck passes over outputs that need no gradient
        return tuple(output + tie for output in outputs)

    assert gradcheck(run, (*inputs, *parameters), fast_mode=True, atol=1e-5)


def check_batch_independence(subject: Subject) -> None:
    """Each row comes out as it does alone."""
    bijector = subject.bijector()
    x, context = subject.batch()
    for name, (values, log_det) in _both_ways(bijector, x, context):
        source = x if name == "forward" else bijector.forward_and_log_det(x, context)[0]
        direction = bijector.forward_and_log_det if name == "forward" else bijector.inverse_and_log_det
        for row in range(len(x)):
            alone = direction(source[row : row + 1], None if context is None else context[row : row + 1])
            _close(f"{name}: row {row} alone - in the batch", alone[0][0], values[row], 1e-10)
            _close(f"{name}: log_det of row {row} alone - in the batch", alone[1][0], log_det[row], 1e-9)


def check_input_untouched(subject: Subject) -> None:
    """Neither direction writes into its input."""
    bijector = subject.bijector()
    x, context = subject.batch()
    before = x.clone()
    y, _ = bijector.forward_and_log_det(x, context)
    assert torch.equal(x, before), "forward_and_log_det changes its input in place"
    y, before = y.clone(), y.clone()
    bijector.inverse_and_log_det(y, context)
    assert torch.equal(y, before), "inverse_and_log_det changes its input in place"


def check_state(subject: Subject) -> None:
    """state_dict holds all that decides the map: another instance, loaded with it, does the same."""
    bijector, other = subject.bijector(), subject.bijector(seed=17)
    other.load_state_dict(bijector.state_dict())
    x, context = subject.batch()
    for (name, (value, log_det)), (_, (again, log_det_again)) in zip(
        _both_ways(bijector, x, context), _both_ways(other, x, context), strict=True
    ):
        _close(f"{name} after load_state_dict", again, value, 1e-12)
        _close(f"{name} log_det after load_state_dict", log_det_again, log_det, 1e-12)


def check_initialize(subject: Subject) -> None:
    """initialize leaves a finite map: on a usual batch, on constant data, on a batch of one."""
    x, context = subject.batch(8)
    for name, rows in {
        "a batch": x,
        "constant data": torch.full_like(x, 0.3),
        "a batch of one": x[:1],
    }.items():
        bijector = subject.make().double()
        c = None if context is None else context[: len(rows)]
        with torch.no_grad():
            bijector.initialize(rows, c)
            y, log_det = bijector.forward_and_log_det(rows, c)
        assert y.isfinite().all() and log_det.isfinite().all(), f"not finite after initialize on {name}"


def check_merge(subject: Subject) -> None:
    """A channel-linear layer merges with its neighbours: the run is its layers one after another."""
    bijectors = [subject.bijector(seed) for seed in range(3)]
    layers = [layer for layer in bijectors if isinstance(layer, ChannelLinear)]
    if not layers:
        return
    run = ChannelRun(layers)
    x, context = subject.batch()
    y, log_det = x, torch.zeros(len(x), dtype=x.dtype)
    for layer in layers:
        y, term = layer.forward_and_log_det(y, context)
        log_det = log_det + term
    scale = 1 + y.abs().max().item()
    merged, merged_log_det = run.forward_and_log_det(x)
    _close("merged - layer by layer", merged, y, MERGE_TOLERANCE * scale)
    _close("merged log_det - layer by layer", merged_log_det.expand(len(x)), log_det, MERGE_TOLERANCE * scale)
    back = run.inverse_and_log_det(y)[0]
    unmerged = y
    for layer in reversed(layers):
        unmerged, _ = layer.inverse_and_log_det(unmerged, context)
    _close("merged inverse - layer by layer", back, unmerged, MERGE_TOLERANCE * scale)


def check_freeze(subject: Subject) -> None:
    """What freeze gives does the same as the layer."""
    bijector = subject.bijector()
    x, context = subject.batch()
    frozen_bijector = Composition(frozen([copy.deepcopy(bijector)], x.dtype, x.device))
    for (name, (value, log_det)), (_, (again, log_det_again)) in zip(
        _both_ways(bijector, x, context), _both_ways(frozen_bijector, x, context), strict=True
    ):
        _close(f"{name} frozen", again, value, ROUND_TRIP_TOLERANCE)
        _close(f"{name} log_det frozen", log_det_again, log_det, LOG_DET_TOLERANCE)


def check_export(subject: Subject) -> None:
    """Both directions can be exported with a batch size left open."""
    _, context = subject.batch(3)
    reason = why_untraceable(subject.bijector(), context, torch.float64)
    assert reason is None, f"can't be exported with a batch size left open: {reason}"


CHECKS: dict[str, Callable[[Subject], None]] = {
    "shapes": check_shapes,
    "precision": check_precision,
    "round_trip": check_round_trip,
    "log_det": check_log_det,
    "inverse_log_det": check_inverse_log_det,
    "gradients": check_gradients,
    "batch_independence": check_batch_independence,
    "input_untouched": check_input_untouched,
    "state": check_state,
    "initialize": check_initialize,
    "merge": check_merge,
    "freeze": check_freeze,
    "export": check_export,
}
"""All checks, by their stable names."""


def _both_ways(bijector: Bijector, x: Tensor, context: Tensor | None) -> list[tuple[str, tuple[Tensor, Tensor]]]:
    forward = bijector.forward_and_log_det(x, context)
    return [("forward", forward), ("inverse", bijector.inverse_and_log_det(forward[0], context))]


def _check_against_autodiff(name: str, direction: Map, bijector: Bijector, x: Tensor, context: Tensor | None) -> None:
    size = math.prod(bijector.event_shape)
    for row in range(len(x)):
        one, c = x[row : row + 1], None if context is None else context[row : row + 1]
        jacobian = jacrev(lambda v, c=c: direction(v, c)[0])(one).reshape(size, size)
        expected = torch.linalg.slogdet(jacobian).logabsdet.item()
        given = direction(one, c)[1].item()
        error = abs(given - expected)
        assert error <= LOG_DET_TOLERANCE * max(1, abs(expected)), (
            f"{name} log_det is {given:.12g}; the Jacobian by autodiff has {expected:.12g}"
            f"{_hint(given, expected, bijector)}"
        )


def _hint(given: float, expected: float, bijector: Bijector) -> str:
    positions = math.prod(bijector.event_shape[1:])
    for factor, question in {
        positions: f"short by the factor h·w = {positions}: did you forget the spatial positions?",
        -1: "the sign is wrong: is it the log-det of the other direction?",
        -positions: f"the sign is wrong and the factor h·w = {positions} is missing",
    }.items():
        if factor != 1 and math.isclose(given * factor, expected, rel_tol=1e-9):
            return f"; {question}"
    return ""


def _equal(name: str, given: torch.Size, expected: tuple[int, ...]) -> None:
    assert tuple(given) == tuple(expected), f"{name} has shape {list(given)}, not {list(expected)}"


def _close(name: str, given: Tensor, expected: Tensor, tolerance: float) -> None:
    if given.numel():
        error = (given - expected).abs().max().item()
        assert error <= tolerance, f"{name}: off by {error:.3g}, more than {tolerance:.3g}"
