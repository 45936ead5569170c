"""Checks what a bijector must do beside what every module must.

The judge of a log-det is the Jacobian by automatic differentiation, in fp64, on perturbed parameters: a round trip
proves nothing about it.
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter, methodcaller
from typing import Any

import torch
from torch import Tensor

from flowkit.bijectors import Bijector, Composition, Coupling, Elementwise
from flowkit.bijectors.channel_linear import ChannelLinear, ChannelRun
from flowkit.bijectors.composition import frozen
from flowkit.bijectors.memory import STRATEGIES
from flowkit.directions import lacks
from flowkit.domains import REALS
from flowkit.flow import Flow
from flowkit.testing import compare, hints
from flowkit.testing.common import LARGE, context, directions, initialized, with_gradients
from flowkit.testing.effects import compare_with_frozen, initialize_saved
from flowkit.testing.perturbation import seeded
from flowkit.testing.subjects import EXTREME, FORWARD, INVERSE, BijectorSubject, Call, exact, needs, only_where

FAR = 10
"""The distance at which x and y are tried, in standard deviations."""
VERY_FAR = 100
"""A distance where values may be infinite, or too sensitive to invert."""
ROUNDING = 1e-14
"""The relative change of an output that shows how sensitive the inverse is."""
FARTHER = 100.0, 1000.0
"""Numbers whose exponentials overflow in fp32 and in fp64."""
NEAR_AN_END = 3
"""The same for a bijector of intervals: next to an end that isn't 0, fp64 loses the digits that tell y apart."""
FAR_TOLERANCE = 1e-6
"""Relative, of round trips and log-dets there."""
AUTOCAST_TOLERANCE = 1e-4
"""Relative (absolute below 1), of log-dets and round trips: fp32 keeps it with ease, bf16 has two or three digits."""
AUTOCAST_GRADIENT_TOLERANCE = 1e-3
"""Relative, of all gradients together: a step that is computed again rounds a number or two to the other side.

It is absolute below SMALL: the likelihood may not depend on anything, and its gradients be roundings.
"""
SMALL = 0.01


@needs("forward", "inverse")
def round_trip(subject: BijectorSubject) -> None:
    """inverse(forward(x)) = x and forward(inverse(y)) = y to 1e-10, relative to the largest; the log-dets cancel.

    It is tried near 0 too, with values down to 1e-8.
    """
    bijector = subject.module()
    for where, calls in (("", subject.calls(bijector)), (" near 0", subject.near_calls(bijector))):
        for call, opposite in zip(calls, reversed(calls), strict=True):
            _check_round_trip(subject, bijector, call, opposite, where)


def _check_round_trip(subject: BijectorSubject, bijector: Bijector, call: Call, opposite: Call, where: str) -> None:
    x, *rest = call.inputs
    value, log_det = call(bijector).values()
    again, opposite_log_det = opposite.at(value, *rest)(bijector).values()
    tolerance = compare.ROUND_TRIP_TOLERANCE * max(1.0, compare.largest(x))
    compare.close(f"{opposite.method}({call.method}(v)) - v{where}", again, x, tolerance)
    if subject.likelihood == "exact":
        tolerance = compare.LOG_DET_TOLERANCE * (1 + compare.largest(log_det))
        compare.close(f"forward log_det + inverse log_det{where}", log_det, -opposite_log_det, tolerance)


@exact
@needs("forward")
def log_det(subject: BijectorSubject) -> None:
    """Forward log_det is log|det| of the Jacobian by autodiff, to 1e-9."""
    _check_log_det(subject, 0)


@exact
@needs("inverse")
def inverse_log_det(subject: BijectorSubject) -> None:
    """Inverse log_det is log|det| of the Jacobian of the inverse by autodiff, to 1e-9."""
    _check_log_det(subject, -1)


def _check_log_det(subject: BijectorSubject, which: int) -> None:
    """Compare the first or the last call with autodiff, near 0 too."""
    for seed, bijector in enumerate(subject.modules()):
        _against_autodiff(subject, bijector, subject.calls(bijector, seed=seed + 1)[which])
    _against_autodiff(subject, bijector, subject.near_calls(bijector)[which])


@exact
def train_log_det(subject: BijectorSubject) -> None:
    """Forward and inverse log_det are those by autodiff in training mode too.

    A network may draw random numbers there. The layer and autodiff are given the same draws.
    """
    bijector = subject.module().train()
    for call in subject.calls(bijector, 1):
        _against_autodiff(subject, bijector, call)


def _against_autodiff(
    subject: BijectorSubject, bijector: Bijector, call: Call, tolerance: float = compare.LOG_DET_TOLERANCE
) -> None:
    """Compare the log-det with autodiff, unless it is declared to be a bound or an estimate."""
    if subject.likelihood != "exact":
        return
    with seeded(subject.seed):
        given = call.on(bijector)(*call.inputs)[1].detach()
    expected = by_autodiff(subject, bijector, call)

    def advice() -> str:
        initial = by_autodiff(subject, subject.fresh().train(bijector.training), call)
        if given.any() and torch.allclose(given, initial, rtol=1e-6, atol=1e-6):
            return "; it belongs to the initial parameters: is it computed once, in __init__, instead of at each call?"
        return hints.hint(given, expected, bijector.event_shape, bijector)

    compare.as_by_autodiff(f"log_det of {call.method}", given, expected, advice, tolerance)


def by_autodiff(subject: BijectorSubject, bijector: Bijector, call: Call) -> Tensor:
    """Return log|det| of each row's Jacobian, [rows].

    The rows are independent (see `batch_independence`), so the gradient of a sum over rows holds every row's own.
    """
    x, *rest = call.inputs

    def summed(v: Tensor) -> Tensor:
        with seeded(subject.seed):
            return call.on(bijector)(v, *rest)[0].sum(0)

    size = x[0].numel()
    by_row = compare.jacobian(summed, x).reshape(-1, len(x), size).movedim(1, 0)
    return torch.linalg.slogdet(by_row.double()).logabsdet


def far(subject: BijectorSubject) -> None:
    """The round trip and the log-dets hold to six digits at ten times the usual distance from 0, too.

    Of the reals at a hundred times as well, as far as values there are finite and the inverse isn't too sensitive.
    """
    bijector = subject.module()
    real = subject.domain == subject.codomain == REALS
    _check_far(subject, bijector, FAR if real else NEAR_AN_END, everywhere=True)
    if real:
        _check_far(subject, bijector, VERY_FAR, everywhere=False)


def _check_far(subject: BijectorSubject, bijector: Bijector, distance: float, everywhere: bool) -> None:
    """Check at this distance all rows, or those alone whose values are finite."""
    what = f"{distance} times as far from 0 as usual"
    calls = subject.calls(bijector, distance=distance)
    for distant, opposite in zip(calls, reversed(calls), strict=True):
        y, log_det = distant(bijector).values()
        rows = compare.moderate(y) & log_det.isfinite()
        assert rows.all() or not everywhere, f"{distant.method} is not finite {what}"
        if not rows.any():
            continue
        distant = distant.map(itemgetter(rows))
        if len(calls) == 2:
            name, (x, *rest) = f"{opposite.method} of {distant.method} - v", distant.inputs
            back = opposite.at(y[rows], *rest)
            tolerance = FAR_TOLERANCE * (1 + compare.largest(x)) + (0 if everywhere else _sensitivity(bijector, back))
            with compare.asking("is something clamped?", unless=partial(round_trip, subject)):
                compare.close(f"{name} {what}", next(iter(back(bijector).values())), x, tolerance)
        _against_autodiff(subject, bijector, distant, FAR_TOLERANCE)


def _sensitivity(bijector: Bijector, call: Call) -> float:
    """Return a bound of what rounding of the first input does to a call's value."""
    y, *rest = call.inputs
    beside = call.at(y * (1 + ROUNDING), *rest)
    values = [next(iter(each(bijector).values())) for each in (call, beside)]
    return 10 * compare.largest(values[0] - values[1])


@exact
def far_parameters(subject: BijectorSubject) -> None:
    """The log-dets hold to six digits where offsets and logarithms of scales are large, as for data in other units.

    So they do for contexts far from 0. Rows that nearly overflow are left out: an exponential of an exponential may do
    so.
    """
    bijector = subject.far_module()
    for call in subject.calls(bijector):
        x, *given = call.inputs
        call = call.at(x, *map(subject.far_context, given))
        value = call.on(bijector)(*call.inputs)[0]
        if (rows := compare.moderate(value)).any():
            _against_autodiff(subject, bijector, call.map(itemgetter(rows)), FAR_TOLERANCE)


def extremes(subject: BijectorSubject) -> None:
    """Outputs and gradients are finite for values of 0, ±1 and ±30, in fp32 too, in which models are trained.

    For a bounded domain these numbers are mapped into it. Log-dets and gradients for values of ±100 and ±1000 are
    finite as well, where the outputs aren't near an overflow or an underflow.
    """
    for dtype in (torch.float64, torch.float32):
        bijector = subject.module().to(dtype)
        for extreme in (EXTREME, *FARTHER):
            for call in subject.extreme_calls(subject.module(), extreme):
                call = call.map(methodcaller("to", dtype))
                if extreme in FARTHER:
                    call = call.map(itemgetter(_moderate_rows(bijector, call, dtype)))
                _check_extreme(bijector, call, f"{dtype} where x is 0, ±1 or ±{extreme:g}")


def _moderate_rows(bijector: Bijector, call: Call, dtype: torch.dtype) -> Tensor:
    """Return which rows of a call have outputs whose squares neither overflow nor underflow, as bools.

    A log-det may be anything where all values are of that size, and not 0 either, which a small one may have become.
    """
    with torch.no_grad():
        value, log_det = (output.abs().reshape(len(output), -1) for output in call(bijector).values())
    limits = torch.finfo(dtype)
    usual, usual_log_det = ((t > limits.tiny**0.5) & (t < limits.max**0.5) for t in (value, log_det))
    either = (usual_log_det | (log_det == 0)).all(1) | usual.all(1)
    return (usual | (value == 0)).all(1) & either


def _check_extreme(bijector: Bijector, call: Call, where: str) -> None:
    for name, value in with_gradients(bijector, call).items():
        assert value.isfinite().all(), (
            f"{name} is not finite in {where}, or what these become in the domain: {call.method} divides by 0, or an "
            "exponential or a logarithm is out of range; torch.where passes the gradient of both branches on"
        )


def domains(subject: BijectorSubject) -> None:
    """Forward maps the domain into the codomain, and inverse maps the codomain into the domain.

    A map to the reals that has one direction goes to infinity where its argument goes to the ends of its domain.
    """
    bijector = subject.module()
    given = {FORWARD: subject.codomain, INVERSE: subject.domain}
    for distance in (1.0, FAR):
        for call in (calls := subject.calls(bijector, n=LARGE, distance=distance)):
            compare.within(call.method, next(iter(call(bijector).values())), given[call.method])
    if len(calls) == 1 and given[call.method] == REALS:  # an inverse would show it
        near, far = (subject.axis_calls(bijector, distance)[0](bijector) for distance in compare.ENDS)
        compare.unbounded(call.method, *(next(iter(values.values())) for values in (near, far)))


@needs("forward")
def initialize(subject: BijectorSubject) -> None:
    """initialize leaves a finite map with the right log-det: on a usual batch, on constant data, on a batch of one."""
    for bijector in initialized(subject):
        _against_autodiff(subject, bijector, subject.calls(bijector, 1)[0])


@needs("forward")
def memory(subject: BijectorSubject) -> None:
    """The gradients for parameters, x and context are the same under every memory strategy as under ``store``.

    They stay so when a parameter is frozen. A layer without an inverse has no ``reversible``.
    """
    flow = flow_of(subject, subject.module()).double().train()
    for held in (None, *list(flow.parameters())[:1]):
        if held is not None:
            held.requires_grad_(False)
        expected = _flow_gradients(subject, flow, "store")
        where = "" if held is None else ", a parameter frozen"
        for strategy in _strategies(subject):
            what = f"gradient under memory: {strategy}{where}"
            compare.all_close(what, _flow_gradients(subject, flow, strategy), expected, 1e-10)


def _strategies(subject: BijectorSubject) -> list[str]:
    return [name for name in STRATEGIES if name != "reversible" or not lacks(subject.directions, "inverse")]


def _flow_gradients(subject: BijectorSubject, flow: Flow, strategy: str, autocast: bool = False) -> dict[str, Tensor]:
    """Return the gradients for inputs and parameters; the forward pass runs under bf16 autocast or not."""
    call = subject.calls(flow.layers[0])[0]
    inputs = [t.to(flow.dtype).requires_grad_() for t in call.inputs]
    wanted = dict(zip(("x", "context"), inputs, strict=False))
    wanted |= {name: p for name, p in flow.named_parameters() if p.requires_grad}
    flow.memory = strategy
    with seeded(subject.seed):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = flow.log_prob(*inputs).sum()
        return compare.gradients_of(loss, wanted)


def flow_of(subject: BijectorSubject, bijector: Bijector) -> Flow:
    """Return a flow of this bijector alone."""
    shape = subject.context_shape
    return Flow([bijector], context=None if shape is None else {"shape": shape})


@only_where(lambda subject: isinstance(subject.fresh(), ChannelLinear), "not channel-linear")
def merge(subject: BijectorSubject) -> None:
    """A channel-linear layer is the map that affine() and affine_inverse() give: merged layers are run by these."""
    layer = subject.module()
    merged: Any = ChannelRun([layer])
    for call in subject.calls(layer):
        what = "merged - by itself: does the layer do what affine() says?"
        compare.all_near(what, call(merged), call(layer), compare.MERGE_TOLERANCE)


def freeze(subject: BijectorSubject) -> None:
    """freeze gives a module that does the same as the layer, and it leaves the layer as it was."""
    compare_with_frozen(subject, for_inference)


def for_inference(bijector: Bijector) -> Bijector:
    """Return the bijector as a frozen flow has it."""
    return Composition(frozen([bijector], torch.empty(0, dtype=torch.float64))).eval()


class _Autocast(Composition):
    """Layers as a user runs them who trains in bf16."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().inverse_and_log_det(y, context)


def autocast(subject: BijectorSubject) -> None:
    """Only networks lose digits under bf16 autocast: outputs are fp32, log-dets those of the map that is computed.

    A layer without a network gives what it gives without autocast; couplings and elementwise layers invert their
    outputs; memory strategies agree. The log-det of a composition is left to the checks of its layers. A network in
    bf16 rounds the gradients that pass through it, each row of the Jacobian in another way. The determinant of a single
    coupling isn't affected, because its Jacobian is triangular. That of several layers is.
    """
    bijector = subject.module().float()
    under, plain = _Autocast([bijector]), Composition([bijector])
    calls = [call.map(Tensor.float) for call in subject.calls(bijector)]
    for call in calls:
        outputs = call(under)
        for name, value in outputs.items():
            assert value.dtype == torch.float32, f"{name} is {value.dtype} under autocast"
        if not bijector.handles_autocast:
            compare.all_close("under autocast - without, and there is no network in it", outputs, call(plain), 0)
        if not isinstance(bijector, Composition) and subject.likelihood == "exact":
            question = "does anything but the network compute in bf16?"
            with compare.asking(question, unless=partial(_own_log_det, subject, plain, call)):
                _own_log_det(subject, under, call)
    if isinstance(bijector, Coupling | Elementwise) and len(calls) == 2:
        with compare.asking("has θ other digits on the way back?", unless=partial(round_trip, subject)):
            _inverts(under, *calls)
    if not lacks(subject.directions, "forward"):
        _memory_under_autocast(subject)


def _inverts(under: Composition, there: Call, back: Call) -> None:
    x, *rest = there.inputs
    y, _ = there(under).values()
    again, _ = back.at(y, *rest)(under).values()
    compare.close("inverse(forward(x)) - x under autocast", again, x, AUTOCAST_TOLERANCE * (1 + compare.largest(x)))


def _own_log_det(subject: BijectorSubject, layers: Composition, call: Call) -> None:
    """Compare the log-dets of each row alone, because a network may round to the other side in a batch."""
    rows = [call.map(itemgetter(slice(row, row + 1))) for row in range(len(call.inputs[0]))]
    given = torch.cat([row(layers)[f"log_det of {call.method}"] for row in rows])
    expected = torch.cat([by_autodiff(subject, layers, row) for row in rows])
    what = f"log_det of {call.method} under autocast - by autodiff"
    compare.close(what, given.double(), expected, AUTOCAST_TOLERANCE * max(1.0, compare.largest(expected)))


def _memory_under_autocast(subject: BijectorSubject) -> None:
    flow = flow_of(subject, subject.module().float()).train()

    def gradients(strategy: str) -> Tensor:
        found = _flow_gradients(subject, flow, strategy, autocast=True)
        return torch.cat([gradient.flatten() for gradient in found.values()])

    expected = gradients("store")
    for strategy in _strategies(subject):
        error = (gradients(strategy) - expected).norm()
        assert error <= AUTOCAST_GRADIENT_TOLERANCE * expected.norm().clamp(min=SMALL), (
            f"gradients under autocast and memory: {strategy} are off by {error:.3g} of {expected.norm():.3g}"
        )


CHECKS = (
    directions, round_trip, log_det, inverse_log_det, train_log_det, far, far_parameters, extremes, domains, context,
    initialize, needs("forward")(initialize_saved), memory, merge, freeze, autocast,
)  # fmt: skip
