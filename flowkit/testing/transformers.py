"""Checks what a transformer must do beside what every module must."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from flowkit.bijectors import Transformer
from flowkit.domains import REALS, Circle, Domain
from flowkit.testing import hints
from flowkit.testing.common import directions
from flowkit.testing.compare import (
    ENDS,
    LOG_DET_TOLERANCE,
    ROUND_TRIP_TOLERANCE,
    as_by_autodiff,
    asking,
    close,
    failing,
    gradients_of,
    jacobian,
    unbounded,
    within,
)
from flowkit.testing.subjects import NEAR, Call, TransformerSubject, inside, needs

NEAR_IDENTITY = 1.0
"""The largest distance from the identity, and of the log-derivative from 0, at a starting θ of its own."""
LARGE_THETA = 5.0
"""A multiple of the usual θ. A network gives such values for sharp densities, and for data in other units."""
EXTREME_THETA = 50.0
"""A θ that a network may give for an event unlike any it was trained on."""
EXTREME_DRAWS = 8
"""The number of draws of signs of θ that are tried there."""
EXTREME_TOLERANCE, STEEP = 1e-3, 20.0
"""Relative, of log-derivatives there; those of a larger size may be those of a rounding, and are left out."""
KINK = 1e-13
"""Relative: how near to a kink rounding may lead to its other side, where the derivative is another one."""
FAR_TOLERANCE = 1e-8
"""Relative, of round trips far out."""
BESIDE, SEAM_TOLERANCE = 1e-10, 1e-6
"""The share of a circle that lies between its ends and the points beside them, and how much log-derivatives differ."""
FAR_OUT = torch.sinh(torch.linspace(-5.3, 5.3, 107, dtype=torch.float64))
"""Numbers up to ±100, dense at 0."""


@needs("forward", "inverse")
def round_trip(subject: TransformerSubject) -> None:
    """inverse(forward(x)) = x and forward(inverse(y)) = y to 1e-10, and the log-derivatives cancel."""
    transformer = subject.module()
    _check_round_trip(subject.domain, transformer, subject.calls(transformer), ROUND_TRIP_TOLERANCE)


def far(subject: TransformerSubject) -> None:
    """Round trip and log-derivative hold up to ±100, relative to how far out it is."""
    transformer = subject.module()
    grid = inside(subject.domain, FAR_OUT[None])
    for seed in range(4):
        calls = subject.both_ways(grid, subject.theta(transformer, 1, seed, (1,)).expand(1, -1, grid.shape[1]))
        with asking("is something clamped?", unless=partial(round_trip, subject)):
            _check_round_trip(subject.domain, transformer, calls, FAR_TOLERANCE)
        for call in calls:
            _against_autodiff(transformer, call)


def _check_round_trip(domain: Domain, transformer: Transformer, calls: Sequence[Call], tolerance: float) -> None:
    """Check that each call is undone by the other.

    Values are compared relative to their size (absolutely below 1), and log-derivatives as those beside a kink are. A
    transformer with one direction has a single call, which nothing undoes.
    """
    if len(calls) == 1:
        return
    for call, opposite in zip(calls, reversed(calls), strict=True):
        value, theta = call.inputs
        there = call.on(transformer)
        between, log_derivative = there(value, theta)
        again, opposite_log_derivative = opposite.at(between, theta)(transformer).values()
        name = f"{opposite.method}({call.method}(v))"
        error = (_distance(domain, again, value) / value.abs().clamp(min=1)).nan_to_num(math.inf)
        at = value.flatten()[int(error.argmax())].item()
        assert error.max() <= tolerance, f"{name} is not v at v = {at:.6g}, by {error.max():.3g}"
        beside = [there(value + step * (1 + value.abs()), theta)[1] for step in (-KINK, KINK)]
        nearest = _nearest(-opposite_log_derivative, [log_derivative, *beside])
        close(f"log-derivatives of {name}", opposite_log_derivative, -nearest, 10 * tolerance)


def _distance(domain: Domain, a: Tensor, b: Tensor) -> Tensor:
    """Return |a - b|, or the shorter way around a circle, whose ends are one point."""
    across = (a - b).abs()
    return torch.minimum(across, (domain.high - domain.low - across).abs()) if isinstance(domain, Circle) else across


def _nearest(value: Tensor, others: list[Tensor]) -> Tensor:
    """Return at each element the one of the others that is nearest to ``value``."""
    stacked = torch.stack(others)
    return stacked.gather(0, (stacked - value).abs().argmin(0, keepdim=True))[0]


@needs("forward")
def log_derivative(subject: TransformerSubject) -> None:
    """The log-derivative of forward is log|∂y/∂x| by autodiff, element by element, to 1e-9; for θ up to ±75 to 1e-3."""
    _check_log_derivative(subject, 0)


@needs("inverse")
def inverse_log_derivative(subject: TransformerSubject) -> None:
    """The log-derivative of inverse is log|∂x/∂y| by autodiff, element by element, to 1e-9; for θ up to ±75 to 1e-3."""
    _check_log_derivative(subject, -1)


def _check_log_derivative(subject: TransformerSubject, which: int) -> None:
    """Compare the first or the last call with autodiff."""
    transformer = subject.module()
    for scale, tolerance in ((1.0, LOG_DET_TOLERANCE), (LARGE_THETA, 1e-6)):
        _against_autodiff(transformer, subject.calls(transformer, scale=scale)[which], tolerance)
    call = subject.calls(transformer, n=EXTREME_DRAWS, scale=EXTREME_THETA)[which]
    _against_autodiff(transformer, call, EXTREME_TOLERANCE, STEEP)


def _against_autodiff(
    transformer: Transformer, call: Call, tolerance: float = LOG_DET_TOLERANCE, steepest: float = math.inf
) -> None:
    """Compare log-derivatives with autodiff, except those of a size beyond ``steepest``."""
    value = call.inputs[0].detach().requires_grad_()
    output, log_derivative = call.at(value, *call.inputs[1:])(transformer).values()
    expected = gradients_of(output.sum(), {"value": value})["value"].abs().log()
    compared = ~(expected.abs() > steepest)  # NaN is compared
    given, expected, at = (t.detach()[compared] for t in (log_derivative, expected, value))
    if given.numel():
        as_by_autodiff(
            f"log-derivative of {call.method}", given, expected,
            lambda: hints.hint(given, expected, None, transformer), tolerance, at=at,
        )  # fmt: skip


def domains(subject: TransformerSubject) -> None:
    """Both directions map the domain into itself, even for values far out and for θ up to ±50.

    A map of the reals that has one direction goes to infinity on both sides.
    """
    transformer = subject.module()
    for scale in (1.0, EXTREME_THETA):
        theta = subject.theta(transformer, 1, shape=(1,), scale=scale).expand(-1, -1, len(FAR_OUT))
        for call in subject.both_ways(inside(subject.domain, FAR_OUT[None]), theta):
            within(call.method, next(iter(call(transformer).values())), subject.domain)
    if subject.directions != "both" and subject.domain == REALS:  # an inverse would show it
        theta = subject.theta(transformer, 2, shape=(1,))
        calls = [subject.both_ways(theta.new_tensor([[end], [-end]]), theta)[0] for end in ENDS]
        unbounded(calls[0].method, *(next(iter(call(transformer).values())) for call in calls))


def elementwise(subject: TransformerSubject) -> None:
    """Each element depends on itself and its own parameters, and on no other element."""
    transformer = subject.module()
    for call in subject.calls(transformer, 1):
        method, (value, theta) = getattr(transformer, call.method), call.inputs
        size = value.numel()
        other = ~torch.eye(size, dtype=torch.bool)
        by_value = jacobian(lambda v, theta=theta, method=method: method(v, theta)[0], value)  # type: ignore[misc]
        assert not by_value[other].any(), f"{call.method}: an element depends on another element"
        by_theta = jacobian(lambda t, value=value, method=method: method(value, t)[0], theta)  # type: ignore[misc]
        own = by_theta.reshape(size, transformer.n_params, size).movedim(1, 0)
        assert not own[:, other].any(), f"{call.method}: an element depends on the parameters of another element"


def identity(subject: TransformerSubject) -> None:
    """The map is the identity at θ = 0, where networks start. At a starting θ of its own it is near the identity."""
    transformer = subject.module()
    own = transformer.starting_theta is not None
    at, tolerance = ("the starting θ", NEAR_IDENTITY) if own else ("θ = 0", ROUND_TRIP_TOLERANCE)
    for call in subject.calls(transformer):
        value, theta = call.inputs
        start = transformer.from_start(torch.zeros_like(theta))
        output, log_derivative = call.at(value, start)(transformer).values()
        close(f"{call.method}(v; θ) - v at {at}", output, value, tolerance)
        close(f"log-derivative of {call.method} at {at}", log_derivative, torch.zeros_like(value), tolerance)


def extremes(subject: TransformerSubject) -> None:
    """Far out, and for θ up to ± 50, values, log-derivatives and gradients are finite, and y never falls as x rises.

    Finite in fp32 too, in which models are trained.
    """
    real = torch.sinh(torch.linspace(-9, 9, 181, dtype=torch.float64))  # ±4000, dense at 0
    grid = inside(subject.domain, real)
    for dtype, scale in product((torch.float64, torch.float32), (0.0, EXTREME_THETA)):
        transformer = subject.module().to(dtype)
        signs = torch.sign(subject.normal(EXTREME_DRAWS, transformer.n_params, 1)).to(dtype)
        theta = transformer.from_start(scale * signs).expand(-1, -1, len(grid))
        value = grid.expand(EXTREME_DRAWS, -1)
        for call in subject.both_ways(value.to(dtype), theta.to(dtype)):
            _check_extreme(transformer, call, subject.domain, f"{call.method} at |θ| = {scale:.0f} in {dtype}")


def _check_extreme(transformer: Transformer, call: Call, domain: Domain, at: str) -> None:
    value, theta = (t.clone().requires_grad_() for t in call.inputs)
    outputs = call.on(transformer)(value, theta)
    for name, output in zip(("the value", "the log-derivative"), outputs, strict=True):
        assert output.isfinite().all(), f"{at}: {name} is not finite at {value[~output.isfinite()][0]:.6g}"
        for gradient in gradients_of(output.sum(), {"value": value, "theta": theta}, retain_graph=True).values():
            assert gradient.isfinite().all(), (
                f"{at}: a gradient of {name} is not finite: does torch.where choose between a good branch and one "
                "that is infinite there? Clamp what goes into the branch that isn't taken"
            )
    rounding = 1e7 * torch.finfo(value.dtype).eps  # 1e-9 in fp64, and no judgement in fp32
    y = outputs[0]
    falls = y.diff() < -rounding * y[:, 1:].abs().clamp(min=1)
    if isinstance(domain, Circle):
        falls &= y.diff() > (domain.low - domain.high) / 2  # y may pass the point where the circle's ends meet
    left, right = value[:, :-1][falls], value[:, 1:][falls]
    assert not falls.any(), f"{at}: y falls between x = {left[0]:.6g} and {right[0]:.6g}"


def edges(subject: TransformerSubject) -> None:
    """Round trip and log-derivative hold on the edges of its pieces, one rounding beside them, and where a circle ends.

    Where edges may be is read off the domain and the numbers that it keeps as attributes: the domain, and ± each
    number, divided into equal parts by each whole number, which is where knots are at θ = 0. A formula may have another
    branch near 0, so values down to 1e-8 are tried too. At the ends of a circle the log-derivative must be that of
    points beside them.
    """
    transformer = subject.module()
    points = _points(subject.domain, transformer)
    around = torch.cat([points, *(torch.nextafter(points, points + sign) for sign in (-1, 1))])
    value = _within(subject.domain, around)[None]  # [1, points]
    for scale in (0.0, 1.0):
        theta = subject.theta(transformer, 1, shape=(1,), scale=scale)
        calls = subject.both_ways(value, theta.expand(-1, -1, value.shape[1]))
        _check_round_trip(subject.domain, transformer, calls, 10 * ROUND_TRIP_TOLERANCE)
        for call in calls:
            _against_autodiff(transformer, call)
            if isinstance(subject.domain, Circle):
                _check_seam(transformer, subject.domain, call.at(value, theta))


def _check_seam(transformer: Transformer, circle: Circle, call: Call) -> None:
    """Check the log-derivative at the ends. A wrong branch there, such as a tail, would agree with its own autodiff."""
    ends = torch.tensor([[circle.low, circle.high]], dtype=torch.float64)
    beside = ends + BESIDE * (ends.flip(1) - ends)
    theta = call.inputs[1].expand(-1, -1, 2)
    at_ends, near = (call.on(transformer)(value, theta)[1] for value in (ends, beside))
    nearest = _nearest(at_ends, [near, near.flip(1)])
    close(f"log-derivative of {call.method} at the ends of the circle - beside them", at_ends, nearest, SEAM_TOLERANCE)


def _within(domain: Domain, points: Tensor) -> Tensor:
    """Return the points in the domain, to which the ends of a circle belong, and those of an interval don't."""
    inner = (points > domain.low) & (points < domain.high)
    ends = (points == domain.low) | (points == domain.high)
    return points[inner | ends if isinstance(domain, Circle) else inner]


def _points(domain: Domain, transformer: Transformer) -> Tensor:
    """Return points all over the domain and near 0, in order, and among them those where edges may be."""
    every, near = torch.linspace(-4, 4, 41, dtype=torch.float64), torch.tensor(NEAR, dtype=torch.float64)
    real = torch.cat([every, near, -near])
    return _within(domain, torch.cat([_edges(domain, transformer), inside(domain, real)])).unique()


def _edges(domain: Domain, transformer: Transformer) -> Tensor:
    numbers = list(_numbers(transformer))
    bounds = {abs(number) for number in numbers if 0 < abs(number) < 1e6} | {1.0}
    parts = {number for number in numbers if isinstance(number, int) and 1 < number <= 256} | {1}
    shares = {k / n for n in parts for k in range(n + 1)}
    edges = {sign * bound * share for bound in bounds for share in shares for sign in (-1, 1)}
    if math.isfinite(domain.high - domain.low):
        edges |= {(1 - share) * domain.low + share * domain.high for share in shares}
    return torch.tensor(sorted(edges), dtype=torch.float64)


def _numbers(transformer: Transformer) -> Iterator[float]:
    for value in vars(transformer).values():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield number


def n_params(subject: TransformerSubject) -> None:
    """n_params is how many parameters it reads, each of them changes something, and so many start somewhere."""
    transformer = subject.module()
    n, start = transformer.n_params, transformer.starting_theta
    assert isinstance(n, int) and n > 0, f"n_params must be a whole number above 0, not {n!r}"
    assert start is None or start.shape == (n,), f"n_params is {n}, but starting_theta has shape {list(start.shape)}"
    points = _points(subject.domain, transformer)
    grid = torch.cat([points, (points[1:] + points[:-1]) / 2])[None]
    theta = subject.theta(transformer, 1, shape=(grid.shape[1],), scale=0.1).requires_grad_()
    outputs = subject.both_ways(grid, theta)[0](transformer).values()
    loss = torch.stack([output.square().sum() for output in outputs]).sum()
    gradient = gradients_of(loss, {"theta": theta})["theta"]
    unread = (gradient == 0).all(2)[0].nonzero().flatten().tolist()
    assert not unread, f"n_params is {n}, but parameters {unread} change nothing"


SHARED = "an elementwise step without a context gives all events the same θ [1, n_params, *event]"


def shared_theta(subject: TransformerSubject) -> None:
    """θ [1, n_params, *event], which all events share, gives what the same θ for each event gives; so do gradients."""
    transformer = subject.module()
    for call in subject.calls(transformer):
        value, theta = call.inputs
        shared = theta[:1].clone().requires_grad_()
        each = shared.detach().expand_as(theta).clone().requires_grad_()
        with failing(f"{call.method} fails for θ {list(shared.shape)} of {len(value)} events: {SHARED}"):
            y, log_derivative = call.on(transformer)(value, shared)
        given, expected = (y, log_derivative.expand_as(y)), call.on(transformer)(value, each)
        for name, got, want in zip(("value", "log-derivative"), given, expected, strict=True):
            message = f"{call.method}, the {name}, with θ [1, n_params, *event]"
            close(message, got, want, 1e-12)
            by_shared = gradients_of(got.sum(), {"theta": shared}, retain_graph=True)["theta"]
            by_each = gradients_of(want.sum(), {"theta": each}, retain_graph=True)["theta"]
            close(f"{message}, its gradient for θ", by_shared, by_each.sum(0, keepdim=True), 1e-10)


CHECKS = (
    directions, round_trip, log_derivative, inverse_log_derivative, far, domains, elementwise, identity, extremes,
    edges, n_params, shared_theta,
)  # fmt: skip
