"""What a bijector must do beside what every module must.

The judge of a log-det is the Jacobian by automatic differentiation, in fp64, on perturbed parameters: a round trip
proves nothing about it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.bijectors import Bijector, Composition
from flowkit.bijectors.channel_linear import ChannelLinear, ChannelRun
from flowkit.bijectors.composition import frozen
from flowkit.flow import Flow
from flowkit.flow.inputs import MEMORY_STRATEGIES
from flowkit.testing import hints
from flowkit.testing.compare import (
    LOG_DET_TOLERANCE,
    MERGE_TOLERANCE,
    ROUND_TRIP_TOLERANCE,
    all_close,
    close,
    jacobian,
)
from flowkit.testing.perturbation import perturb, seeded
from flowkit.testing.saved import initialize_saved
from flowkit.testing.subjects import BijectorSubject, Call, only_where

FAR = 10
"""How far off x and y are tried, in standard deviations."""
FAR_TOLERANCE = 1e-6
"""Relative, of round trips and log-dets there."""


def round_trip(subject: BijectorSubject) -> None:
    """inverse(forward(x)) = x and forward(inverse(y)) = y to 1e-10, and the log-dets cancel."""
    bijector = subject.module()
    x, context = subject.batch(bijector)
    y, there = bijector.forward_and_log_det(x, context)
    back, again = bijector.inverse_and_log_det(y, context)
    close("inverse(forward(x)) - x", back, x, ROUND_TRIP_TOLERANCE)
    close("forward log_det + inverse log_det", there, -again, LOG_DET_TOLERANCE * (1 + there.abs().max().item()))
    y, context = subject.batch(bijector, shape=bijector.output_shape)
    x, _ = bijector.inverse_and_log_det(y, context)
    close("forward(inverse(y)) - y", bijector.forward_and_log_det(x, context)[0], y, ROUND_TRIP_TOLERANCE)


def log_det(subject: BijectorSubject) -> None:
    """Forward log_det is log|det| of the Jacobian by autodiff, to 1e-9."""
    for seed, bijector in enumerate(subject.modules()):
        _against_autodiff(subject, bijector, subject.calls(bijector, seed=seed + 1)[0])


def inverse_log_det(subject: BijectorSubject) -> None:
    """Inverse log_det is log|det| of the Jacobian of the inverse by autodiff, to 1e-9."""
    for seed, bijector in enumerate(subject.modules()):
        _against_autodiff(subject, bijector, subject.calls(bijector, seed=seed + 1)[1])


def train_log_det(subject: BijectorSubject) -> None:
    """The same in training mode, where a network may draw random numbers: with the same draws for both."""
    bijector = subject.module().train()
    for call in subject.calls(bijector, 1):
        _against_autodiff(subject, bijector, call)


def _against_autodiff(
    subject: BijectorSubject, bijector: Bijector, call: Call, tolerance: float = LOG_DET_TOLERANCE
) -> None:
    given = _seeded_call(subject, bijector, call)[1].detach()
    expected = by_autodiff(subject, bijector, call)
    error = (given - expected).abs() / expected.abs().clamp(min=1)
    worst = int(error.nan_to_num(math.inf).argmax())
    assert error[worst] <= tolerance, (
        f"log_det of {call.method} is {given[worst]:.12g}; the Jacobian by autodiff has {expected[worst]:.12g}"
        f"{_hint(subject, bijector, call, given, expected)}"
    )


def _hint(subject: BijectorSubject, bijector: Bijector, call: Call, given: Tensor, expected: Tensor) -> str:
    initial = by_autodiff(subject, subject.fresh().train(bijector.training), call)
    if given.any() and torch.allclose(given, initial, rtol=1e-6, atol=1e-6):
        return "; it belongs to the initial parameters: is it computed once, in __init__, instead of at each call?"
    return hints.hint(given, expected, bijector.event_shape, bijector)


def by_autodiff(subject: BijectorSubject, bijector: Bijector, call: Call) -> Tensor:
    """log|det| of each row's Jacobian, [rows]."""
    rows = []
    for row in range(len(call.inputs[0])):
        one, *rest = (t[row : row + 1] for t in call.inputs)

        def direction(v: Tensor, rest: list[Tensor] = rest) -> Tensor:
            return _seeded_call(subject, bijector, Call(call.method, (v, *rest), call.returns))[0]

        rows.append(torch.linalg.slogdet(jacobian(direction, one).double()).logabsdet)
    return torch.stack(rows)


def _seeded_call(subject: BijectorSubject, bijector: Bijector, call: Call) -> tuple[Tensor, ...]:
    with seeded(subject.seed):
        return tuple(call(bijector).values())


def far(subject: BijectorSubject) -> None:
    """At ten times the usual distance from 0 too it goes there and back, and both log-dets hold, to six digits."""
    bijector = subject.module()
    there, back = subject.calls(bijector)
    for call, opposite in ((there, back), (back, there)):
        x, *rest = call.inputs
        x = FAR * x
        distant = Call(call.method, (x, *rest), call.returns)
        y, log_det = distant(bijector).values()
        what = f"{FAR} times as far from 0 as usual"
        assert y.isfinite().all() and log_det.isfinite().all(), f"{call.method} is not finite {what}"
        again, _ = Call(opposite.method, (y, *rest), opposite.returns)(bijector).values()
        largest = 1 + x.abs().max().item()
        close(
            f"{opposite.method} of {call.method} - v {what}: is something clamped?", again, x, FAR_TOLERANCE * largest
        )
        _against_autodiff(subject, bijector, distant, FAR_TOLERANCE)


@only_where(lambda subject: subject.context_shape is not None, "takes no context")
def context(subject: BijectorSubject) -> None:
    """Both directions read the context: with another one the output is another."""
    for call in subject.calls(subject.fresh()):
        assert any(call.reads(1, bijector) for bijector in subject.modules()), f"{call.method} ignores its context"


def initialize(subject: BijectorSubject) -> None:
    """initialize leaves a finite map with the right log-det: on a usual batch, on constant data, on a batch of one.

    In a flow it happens once: a second initialize, or one after load_state_dict, changes nothing.
    """
    x, context = subject.batch(subject.fresh(), 8)
    batches = {"a batch": x, "constant data": torch.full_like(x, 0.3), "a batch of one": x[:1]}
    for name, rows in batches.items():
        bijector = subject.fresh()
        given = None if context is None else context[: len(rows)]
        with torch.no_grad():
            bijector.initialize(rows, given)
            y, log_det = bijector.forward_and_log_det(rows, given)
        assert y.isfinite().all() and log_det.isfinite().all(), f"not finite after initialize on {name}"
        _against_autodiff(subject, bijector, subject.calls(bijector, 1)[0])
    _initialize_in_a_flow(subject, x, context)


def _initialize_in_a_flow(subject: BijectorSubject, x: Tensor, context: Tensor | None) -> None:
    flow, resumed = (flow_of(subject, subject.fresh()).double() for _ in range(2))
    flow.initialize(x, context)
    state = {name: t.clone() for name, t in flow.state_dict().items()}
    resumed.load_state_dict(state)
    for what, again in {"second initialize": flow, "initialize after load_state_dict": resumed}.items():
        again.initialize(2 * x + 1, context)
        again.log_prob(2 * x + 1, context)
        for name, value in again.state_dict().items():
            assert torch.equal(value, state[name]), f"a {what} changes {name}"


def memory(subject: BijectorSubject) -> None:
    """Under every memory strategy the gradients, for parameters, x and context, are those under ``store``, and so are
    the others' when a parameter is frozen."""
    flow = flow_of(subject, subject.module()).double().train()
    for held in (None, *list(flow.parameters())[:1]):
        if held is not None:
            held.requires_grad_(False)
        expected = flow_gradients(subject, flow, "store")
        where = "" if held is None else ", a parameter frozen"
        for strategy in MEMORY_STRATEGIES:
            all_close(f"under memory: {strategy}{where}", flow_gradients(subject, flow, strategy), expected, 1e-10)


def flow_gradients(subject: BijectorSubject, flow: Flow, strategy: str, autocast: bool = False) -> dict[str, Tensor]:
    """Of the sum of log-densities, for inputs and parameters by name; the forward pass under bf16 autocast or not."""
    x, context = subject.batch(flow)
    x, context = x.to(flow.dtype), None if context is None else context.to(flow.dtype)
    inputs = {"x": x.requires_grad_()} | ({} if context is None else {"context": context.requires_grad_()})
    wanted = inputs | {name: p for name, p in flow.named_parameters() if p.requires_grad}
    flow.memory = strategy
    with seeded(subject.seed):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = flow.log_prob(x, context).sum()
        grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return {f"gradient of {name}": grad for name, grad in zip(wanted, grads, strict=True)}


def flow_of(subject: BijectorSubject, bijector: Bijector) -> Flow:
    """A flow of this bijector alone."""
    shape = subject.context_shape
    return Flow([bijector], context=None if shape is None else {"shape": shape})


@only_where(lambda subject: isinstance(subject.fresh(), ChannelLinear), "not channel-linear")
def merge(subject: BijectorSubject) -> None:
    """A channel-linear layer merges with its neighbours: the composed map does what the layers do one after another."""
    layers = [subject.module(seed) for seed in range(3)]
    x, context = subject.batch(layers[0])
    for name in ("forward", "inverse"):
        expected, expected_log_det = _one_by_one(layers, name, x, context)
        y, log_det = getattr(ChannelRun(layers), f"{name}_and_log_det")(x)
        tolerance = MERGE_TOLERANCE * (1 + expected.abs().max().item())
        close(f"{name} merged - layer by layer: does the layer do what affine() says?", y, expected, tolerance)
        close(f"{name} log_det merged - layer by layer", log_det, expected_log_det, tolerance)


def _one_by_one(layers: list[Any], name: str, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    total = v.new_zeros(len(v))
    for layer in reversed(layers) if name == "inverse" else layers:
        v, log_det = getattr(layer, f"{name}_and_log_det")(v, context)
        total = total + log_det
    return v, total


def freeze(subject: BijectorSubject) -> None:
    """What freeze gives does the same as the layer, and leaves the layer as it was."""
    bijector = subject.module()
    flags = _flags(bijector)
    _compare_with_frozen(subject, bijector, "frozen")
    assert _flags(bijector) == flags, "freeze changes the layer's training or requires_grad: change a copy"
    with seeded(subject.seed + 5):
        perturb(bijector, 0.1)
    _compare_with_frozen(
        subject, bijector, "frozen again, after the parameters have moved: does freeze keep something?"
    )


def _compare_with_frozen(subject: BijectorSubject, bijector: Bijector, what: str) -> None:
    calls = subject.calls(bijector)
    expected = [call(bijector) for call in calls]
    frozen_bijector = Composition(frozen([bijector], torch.empty(0, dtype=torch.float64)))
    for call, outputs in zip(calls, expected, strict=True):
        all_close(what, call(frozen_bijector), outputs, ROUND_TRIP_TOLERANCE)
        all_close("of the layer that was frozen", call(bijector), outputs, 0)


def _flags(bijector: Bijector) -> tuple[bool, dict[str, bool]]:
    return bijector.training, {name: p.requires_grad for name, p in bijector.named_parameters()}


CHECKS = (
    round_trip, log_det, inverse_log_det, train_log_det, far, context, initialize, initialize_saved, memory, merge,
    freeze,
)  # fmt: skip
