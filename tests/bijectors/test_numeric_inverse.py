"""The numeric inverse: accuracy in fp64 and fp32, first and second derivatives, independence of rows, compilation."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import hessian, jacfwd, jacrev, vmap

from flowkit.bijectors import Bijector, numeric_inverse
from flowkit.bijectors.numeric_inverse import BISECTIONS
from flowkit.testing import BijectorSubject, check
from flowkit_mixture.logistic import MixtureOfLogistics


def curve(x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """x + a tanh x, and the logarithm of its slope."""
    t = x.tanh()
    return x + a * t, torch.log1p(a * (1 - t * t))


def solved(y: Tensor, a: Tensor, bisections: int = BISECTIONS) -> Tensor:
    return numeric_inverse(lambda x: curve(x, a), y, y - a, y + a, bisections)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-7)], ids=str)
@pytest.mark.parametrize("a", [0.0, 0.5, 100.0])
def test_it_has_all_digits_of_the_type(dtype: torch.dtype, tolerance: float, a: float) -> None:
    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    y, log_slope = curve(x, torch.tensor(a, dtype=torch.float64))
    given, log_derivative = numeric_inverse(
        lambda x: curve(x, torch.tensor(a, dtype=dtype)), y.to(dtype), y.to(dtype) - a - 1, y.to(dtype) + a + 1
    )
    rounding = y.abs() / log_slope.exp() + x.abs() + 1  # of y and x themselves
    assert ((given.double() - x).abs() / rounding).max() < tolerance
    assert (log_derivative.double() + log_slope).abs().max() < 1e3 * tolerance


def test_a_row_does_not_depend_on_its_batch() -> None:
    y, a = torch.randn(500, dtype=torch.float64), torch.rand(500, dtype=torch.float64)
    assert torch.equal(solved(y, a)[7:8], solved(y[7:8], a[7:8]))


Y, A = torch.tensor(0.8, dtype=torch.float64), torch.tensor(1.3, dtype=torch.float64)


def by_implicit_differentiation() -> tuple[Tensor, Tensor]:
    """The gradient and the Hessian of x(y, a), by hand."""
    x = solved(Y, A)
    t = x.tanh()
    slope, bend = 1 + A * (1 - t**2), -2 * A * t * (1 - t**2)  # ∂f/∂x, ∂²f/∂x²
    f_a, f_xa = t, 1 - t**2
    x_y, x_a = 1 / slope, -f_a / slope
    second = torch.stack(
        [
            -bend * x_y**2,
            -(bend * x_y * x_a + f_xa * x_y),
            -(bend * x_a**2 + 2 * f_xa * x_a),
        ]
    )
    return torch.stack([x_y, x_a]), second / slope


ROUTES = {
    "hessian": hessian,
    "reverse over reverse": lambda f: jacrev(jacrev(f)),
    "forward over forward": lambda f: jacfwd(jacfwd(f)),
    "reverse over forward": lambda f: jacrev(jacfwd(f)),
    "autograd": lambda f: lambda v: torch.autograd.functional.hessian(f, v),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_first_and_second_derivatives_are_those_of_the_inverse(route) -> None:
    def x(v: Tensor) -> Tensor:
        return solved(v[0], v[1])

    at = torch.stack([Y, A])
    first, (yy, ya, aa) = by_implicit_differentiation()
    for jacobian in (jacrev, jacfwd):
        torch.testing.assert_close(jacobian(x)(at), first, rtol=1e-10, atol=0)
    torch.testing.assert_close(route(x)(at), torch.stack([yy, ya, ya, aa]).reshape(2, 2), rtol=1e-9, atol=0)
    torch.testing.assert_close(vmap(jacrev(x))(at.expand(3, 2)), first.expand(3, 2), rtol=1e-10, atol=0)


def test_derivatives_of_the_mixtures_inverse() -> None:
    transformer = MixtureOfLogistics(2).double()
    torch.manual_seed(0)
    theta = transformer.from_start(torch.randn(2, 6, 1, dtype=torch.float64)).requires_grad_()
    y = (2 * torch.randn(2, 1, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(transformer.inverse, (y, theta))
    assert torch.autograd.gradgradcheck(transformer.inverse, (y, theta))


def test_a_step_is_as_long_as_the_bracket_at_most() -> None:
    """In the flat middle of x³ an unlimited step would lead out of the bracket: rounding divided by a slope of 0."""
    y = torch.tensor([0.0, 1e-30, 8.0])

    def cube(x: Tensor) -> tuple[Tensor, Tensor]:
        return x**3 + 1e-9 * torch.sign(x), torch.log(3 * x**2 + 1e-38)

    x, _ = numeric_inverse(cube, y, torch.full((3,), -3.0), torch.full((3,), 3.0))
    assert x.abs()[:2].max() < 1e-6 and x[2] == pytest.approx(2)


class Bend(Bijector):
    """y = x + a tanh x, whose parameter has a gradient."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.log_a = torch.nn.Parameter(torch.zeros(self.event_shape))

    def forward_and_log_det(self, x, context=None):
        y, log_slope = curve(x, self.log_a.exp())
        return y, log_slope.flatten(1).sum(1)

    def inverse_and_log_det(self, y, context=None):
        a = self.log_a.exp()
        x, log_derivative = numeric_inverse(lambda x: curve(x, a), y, y - a, y + a)
        return x, log_derivative.flatten(1).sum(1)


@pytest.mark.slow
def test_the_kit_takes_it() -> None:
    check(BijectorSubject(lambda: Bend((3,))))


def test_torch_refuses_second_derivatives_of_a_compiled_inverse() -> None:
    """As it does those of any compiled function. Half of the bisections are compiled sooner, and are enough here."""
    compiled = torch.compile(partial(solved, bisections=16), fullgraph=True, backend="aot_eager")
    y, a = Y.clone()[None].requires_grad_(), A.clone()[None].requires_grad_()
    first = torch.autograd.grad(compiled(y, a), (y, a), create_graph=True)
    torch.testing.assert_close(torch.cat(first), by_implicit_differentiation()[0], rtol=1e-10, atol=0)
    with pytest.raises(RuntimeError, match=r"double backward|not have been used"):
        torch.autograd.grad(first[0], y)
