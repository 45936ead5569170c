"""The hand-written gradients of the spline are those of its formula by automatic differentiation."""

from itertools import product

import pytest
import torch
from torch.autograd import forward_ad

from flowkit_spline.rational_quadratic import RationalQuadratic, Spline, spline

DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "inverse"])


def inputs(event, bins, scale=1.0, n=64, dtype=torch.float64):
    """Values inside and outside [-1, 1], on both edges, and θ."""
    generator = torch.Generator().manual_seed(0)
    value = 1.2 * torch.randn(n, *event, dtype=torch.float64, generator=generator)
    value[:2] = torch.tensor([-1.0, 1.0], dtype=torch.float64).reshape(2, *(1 for _ in event))
    theta = scale * torch.randn(n, 3 * bins - 1, *event, dtype=torch.float64, generator=generator)
    return value.to(dtype), theta.to(dtype)


def gradients(function, value, theta, weights):
    value, theta = value.detach().requires_grad_(), theta.detach().requires_grad_()
    outputs = function(value, theta)[:2]
    return [*(o.detach() for o in outputs), *torch.autograd.grad(outputs, (value, theta), weights)]


@DIRECTIONS
@pytest.mark.parametrize("event, bins, scale", [((5,), 8, 1), ((2, 3, 2), 2, 2), ((3,), 8, 10), ((3,), 33, 3)])
def test_they_are_those_of_the_formula(event, bins, scale, direction):
    value, theta = inputs(event, bins, scale)
    method = getattr(RationalQuadratic(bins, 1.0), direction)
    by_hand = gradients(method, value, theta, (value.cos(), value.sin()))
    by_autodiff = gradients(
        lambda v, t: spline(v, t, 1.0, direction == "inverse"), value, theta, (value.cos(), value.sin())
    )
    for given, expected in zip(by_hand, by_autodiff, strict=True):
        assert (given - expected).abs().max() <= 1e-12 * (1 + expected.abs().max())


@pytest.mark.slow
@DIRECTIONS
def test_second_derivatives(direction):
    value, theta = (t.requires_grad_() for t in inputs((1,), 3, n=4))
    value.data[:2] *= 1.01  # finite differences must not straddle the edges
    method = getattr(RationalQuadratic(3, 1.0), direction)
    assert torch.autograd.gradcheck(method, (value, theta))
    assert torch.autograd.gradgradcheck(method, (value, theta))
    assert torch.autograd.gradgradcheck(lambda t: method(value.detach(), t), (theta,))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@DIRECTIONS
def test_transforms_of_functions(direction):
    value, theta = inputs((2,), 3, n=4)
    method = getattr(RationalQuadratic(3, 1.0), direction)
    expected = torch.autograd.functional.jacobian(lambda t: method(value, t)[1], theta)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(lambda t: method(value, t)[1])(theta), expected)
    singly = torch.func.vmap(lambda v: method(v, theta)[0])(torch.stack([value, -value]))
    torch.testing.assert_close(singly[1], method(-value, theta)[0])
    with forward_ad.dual_level():
        tangent = torch.ones_like(theta)
        dual = method(value, forward_ad.make_dual(theta.requires_grad_(), tangent))[1]
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, (expected * tangent).flatten(2).sum(2))


@DIRECTIONS
@pytest.mark.parametrize("value_trains, theta_trains", [(True, False), (False, True)])
def test_one_input_alone(value_trains, theta_trains, direction):
    value, theta = inputs((3,), 4)
    value.requires_grad_(value_trains), theta.requires_grad_(theta_trains)
    outputs = getattr(RationalQuadratic(4, 1.0), direction)(value, theta)
    wanted = value if value_trains else theta
    first = torch.autograd.grad(sum(o.sum() for o in outputs), wanted, retain_graph=True)[0]
    second = torch.autograd.grad(sum(o.sum() for o in outputs), wanted, create_graph=True)[0]
    torch.testing.assert_close(first, second)


def test_it_is_used_where_gradients_are_wanted_alone(monkeypatch):
    calls = []
    right = Spline.forward
    monkeypatch.setattr(Spline, "forward", staticmethod(lambda ctx, *args: calls.append(1) or right(ctx, *args)))
    value, theta = inputs((3,), 4)
    spline = RationalQuadratic(4, 1.0)
    for trains, enabled in product((False, True), repeat=2):
        with torch.set_grad_enabled(enabled):
            spline(value, theta.detach().requires_grad_(trains))
    assert len(calls) == 1
