"""What a transformer must do beside what every module must."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from flowkit.bijectors import Transformer
from flowkit.testing import hints
from flowkit.testing.compare import LOG_DET_TOLERANCE, ROUND_TRIP_TOLERANCE, close, jacobian
from flowkit.testing.subjects import Call, TransformerSubject

EXTREME_THETA = 50.0
"""What a network may give for an event unlike any it was trained on."""
KINK = 1e-13
"""Relative: how near to a kink rounding may lead to its other side, where the derivative is another one."""
FAR_TOLERANCE = 1e-8
"""Relative, of round trips far out."""


def round_trip(subject: TransformerSubject) -> None:
    """inverse(forward(x)) = x and forward(inverse(y)) = y to 1e-10, and the log-derivatives cancel."""
    transformer = subject.module()
    value, theta = subject.calls(transformer)[0].inputs
    _check_round_trip(transformer, value, theta, ROUND_TRIP_TOLERANCE)


def far(subject: TransformerSubject) -> None:
    """Round trip and log-derivative hold up to ±100, relative to how far out it is."""
    transformer = subject.module()
    grid = torch.sinh(torch.linspace(-5.3, 5.3, 107, dtype=torch.float64))[None]
    for seed in range(4):
        theta = subject.theta(transformer, 1, seed, (1,)).expand(1, -1, grid.shape[1])
        for there, back in (("forward", "inverse"), ("inverse", "forward")):
            between, _ = getattr(transformer, there)(grid, theta)
            again, _ = getattr(transformer, back)(between, theta)
            error = (again - grid).abs() / (1 + grid.abs())
            at = grid[0, int(error[0].nan_to_num(math.inf).argmax())].item()
            assert error.max() <= FAR_TOLERANCE, f"{back}({there}(v)) is not v at v = {at:.6g}: is something clamped?"
            _against_autodiff(transformer, Call(there, (grid, theta), {"value": (), "log-derivative": ()}))


def _check_round_trip(transformer: Transformer, value: Tensor, theta: Tensor, tolerance: float) -> None:
    for there, back in ((transformer.forward, transformer.inverse), (transformer.inverse, transformer.forward)):
        between, log_derivative = there(value, theta)
        again, opposite = back(between, theta)
        name = f"{back.__name__}({there.__name__}(v))"
        close(f"{name} - v", again, value, tolerance)
        beside = [there(value + step * (1 + value.abs()), theta)[1] for step in (-KINK, KINK)]
        nearest = _nearest(-opposite, [log_derivative, *beside])
        close(f"log-derivatives of {name}", opposite, -nearest, 10 * tolerance)


def _nearest(value: Tensor, others: list[Tensor]) -> Tensor:
    """Of the others, at each element, the one nearest to ``value``."""
    stacked = torch.stack(others)
    return stacked.gather(0, (stacked - value).abs().argmin(0, keepdim=True))[0]


def log_derivative(subject: TransformerSubject) -> None:
    """The log-derivative of forward is log|∂y/∂x| by autodiff, element by element, to 1e-9."""
    transformer = subject.module()
    _against_autodiff(transformer, subject.calls(transformer)[0])


def inverse_log_derivative(subject: TransformerSubject) -> None:
    """The log-derivative of inverse is log|∂x/∂y| by autodiff, element by element, to 1e-9."""
    transformer = subject.module()
    _against_autodiff(transformer, subject.calls(transformer)[1])


def _against_autodiff(transformer: Transformer, call: Call) -> None:
    value = call.inputs[0].detach().requires_grad_()
    output, given = Call(call.method, (value, *call.inputs[1:]), call.returns)(transformer).values()
    (derivative,) = torch.autograd.grad(output.sum(), value)
    expected, given = derivative.abs().log().flatten(), given.detach().flatten()
    error = (given - expected).abs() / expected.abs().clamp(min=1)
    worst = int(error.nan_to_num(math.inf).argmax())
    assert error[worst] <= LOG_DET_TOLERANCE, (
        f"log-derivative of {call.method} at {value.detach().flatten()[worst]:.12g} is {given[worst]:.12g}; autodiff "
        f"has {expected[worst]:.12g}{hints.hint(given, expected, None, transformer)}"
    )


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
    """At θ = 0, where networks start, it is the identity."""
    transformer = subject.module()
    value, theta = subject.calls(transformer)[0].inputs
    for method in ("forward", "inverse"):
        output, log_derivative = getattr(transformer, method)(value, torch.zeros_like(theta))
        close(f"{method}(v; θ = 0) - v", output, value, ROUND_TRIP_TOLERANCE)
        close(f"log-derivative of {method} at θ = 0", log_derivative, torch.zeros_like(value), ROUND_TRIP_TOLERANCE)


def extremes(subject: TransformerSubject) -> None:
    """Far out, and for θ up to ± 50, values, log-derivatives and gradients are finite, and y never falls as x rises.

    Finite in fp32 too, in which models are trained.
    """
    grid = torch.sinh(torch.linspace(-9, 9, 181, dtype=torch.float64))  # ±4000, dense at 0
    for dtype in (torch.float64, torch.float32):
        transformer = subject.module().to(dtype)
        for scale in (0.0, EXTREME_THETA):
            for seed in range(8):
                theta = scale * torch.sign(subject.normal(1, transformer.n_params, 1, seed=seed))
                for method in ("forward", "inverse"):
                    at = f"{method} at |θ| = {scale:.0f} in {dtype}"
                    _check_extreme(transformer, method, grid.to(dtype), theta.expand(1, -1, len(grid)).to(dtype), at)


def _check_extreme(transformer: Transformer, method: str, grid: Tensor, theta: Tensor, at: str) -> None:
    inputs = grid[None].clone().requires_grad_(), theta.clone().requires_grad_()
    outputs = getattr(transformer, method)(*inputs)
    for name, value in zip(("the value", "the log-derivative"), outputs, strict=True):
        assert value.isfinite().all(), f"{at}: {name} is not finite at {_where(grid, value)}"
        tied = value.sum() + sum(v.sum() for v in inputs) * 0  # a constant log-derivative has no graph
        for gradient in torch.autograd.grad(tied, inputs, retain_graph=True):
            assert gradient.isfinite().all(), (
                f"{at}: a gradient of {name} is not finite: does torch.where choose between a good branch and one "
                "that is infinite there? Clamp what goes into the branch that isn't taken"
            )
    rounding = 1e7 * torch.finfo(grid.dtype).eps  # 1e-9 in fp64, and no judgement in fp32
    falls = outputs[0][0].diff() < -rounding * outputs[0][0, 1:].abs().clamp(min=1)
    assert not falls.any(), f"{at}: y falls between x = {grid[:-1][falls][0]:.6g} and {grid[1:][falls][0]:.6g}"


def _where(grid: Tensor, value: Tensor) -> str:
    return f"{grid[~value.isfinite()[0]][0]:.6g}"


def edges(subject: TransformerSubject) -> None:
    """Round trip and log-derivative hold on the edges of its pieces, and one rounding to either side.

    Where edges may be is read off the numbers that it keeps as attributes: ± each, divided into equal parts by each
    whole number, which is where knots are at θ = 0.
    """
    transformer = subject.module()
    points = torch.tensor(sorted(_edges(transformer)), dtype=torch.float64)
    around = [points, *(torch.nextafter(points, points + sign) for sign in (-1, 1))]
    value = torch.cat(around)[None]  # [1, points]
    for theta in (torch.zeros(()), subject.theta(transformer, 1, shape=(1,))):
        parameters = theta.double().expand(1, transformer.n_params, value.shape[1])
        _check_round_trip(transformer, value, parameters, 10 * ROUND_TRIP_TOLERANCE)
        for method in ("forward", "inverse"):
            _against_autodiff(transformer, Call(method, (value, parameters), {"value": (), "log-derivative": ()}))


def _edges(transformer: Transformer) -> set[float]:
    numbers = list(_numbers(transformer))
    bounds = {abs(number) for number in numbers if 0 < abs(number) < 1e6} | {1.0}
    parts = {number for number in numbers if isinstance(number, int) and 1 < number <= 256} | {1}
    return {sign * bound * k / n for bound in bounds for n in parts for k in range(n + 1) for sign in (-1, 1)}


def _numbers(transformer: Transformer) -> Iterator[float]:
    for value in vars(transformer).values():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield number


def n_params(subject: TransformerSubject) -> None:
    """n_params is how many parameters it reads, and each of them changes something."""
    transformer = subject.module()
    n = transformer.n_params
    assert isinstance(n, int) and n > 0, f"n_params must be a whole number above 0, not {n!r}"
    points = torch.tensor(sorted(_edges(transformer)), dtype=torch.float64)
    grid = torch.cat([points, (points[1:] + points[:-1]) / 2, torch.linspace(-4, 4, 41)])[None]
    theta = 0.1 * subject.theta(transformer, 1, shape=(grid.shape[1],)).requires_grad_()
    outputs = transformer(grid, theta)
    (gradient,) = torch.autograd.grad(sum(o.square().sum() for o in outputs), theta)
    unread = (gradient == 0).all(2)[0].nonzero().flatten().tolist()
    assert not unread, f"n_params is {n}, but parameters {unread} change nothing"


CHECKS = (
    round_trip, log_derivative, inverse_log_derivative, far, elementwise, identity, extremes, edges,
    n_params,
)  # fmt: skip
