"""Defines the Möbius transformation of a circle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowkit.bijectors import Transformer, clamp_rounding
from flowkit.plugin import Circle


class Moebius(Transformer):
    """The Möbius transformation z -> (z - w) / (1 - w̄ z) of a circle to itself.

    z = e^{iα} is the point of the value x, with α = 2π (x - low) / (high - low). The transformation turns it by
    2 arg(1 - w z̄), and the derivative is (1 - |w|²) / |1 - w z̄|². The inverse has -w for w. A rotation follows, which
    takes the ends of the circle, one point, back to where they were. A layer ``map/phase`` moves that point. θ holds
    the two coordinates of v, and w = radius v / √(1 + |v|²). At θ = 0 the transformation is the identity.

    Args:
        bounds: The circle.
        radius: The limit of |w|, which is below 1.

    References:
        Rezende et al. 2020, "Normalizing Flows on Tori and Spheres", §2.1.

    Examples:
        >>> import torch
        >>> from flowkit.plugin import Circle
        >>> from flowkit_map.moebius import Moebius
        >>> y, log_derivative = Moebius(Circle(0, 24))(torch.tensor([[6.0]]), torch.zeros(1, 2, 1))
        >>> y, log_derivative
        (tensor([[6.]]), tensor([[0.]]))
    """

    n_params = 2

    def __init__(self, bounds: Circle, radius: float = 0.9) -> None:
        super().__init__()
        self.bounds, self.radius = bounds, radius
        self.unit = (bounds.high - bounds.low) / (2 * math.pi)  # the length that one radian is

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        w = self._w(theta)
        turn, log_derivative = _turned((x - self.bounds.low) / self.unit, *w)
        at_the_ends, _ = _turned(torch.zeros_like(x), *w)
        return self._on_circle(x + self.unit * (turn - at_the_ends), x), log_derivative

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        real, imaginary = self._w(theta)
        at_the_ends, _ = _turned(torch.zeros_like(y), real, imaginary)
        turn, log_derivative = _turned((y - self.bounds.low) / self.unit + at_the_ends, -real, -imaginary)
        return self._on_circle(y + self.unit * (turn + at_the_ends), y), log_derivative

    def _on_circle(self, turned: Tensor, value: Tensor) -> Tensor:
        return clamp_rounding(turned, self.bounds.low, self.bounds.high, of=value)

    def _w(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        real, imaginary = theta.unbind(1)
        shrunk = self.radius * (1 + real.square() + imaginary.square()).rsqrt()
        return real * shrunk, imaginary * shrunk


def _turned(angle: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Return by which angle the transformation of w = real + i imaginary turns a point, and the log-derivative."""
    cosine, sine = angle.cos(), angle.sin()
    a, b = 1 - real * cosine - imaginary * sine, real * sine - imaginary * cosine  # 1 - w z̄ = a + i b, and a > 0
    derivative = (1 - real.square() - imaginary.square()) / (a.square() + b.square())
    return 2 * torch.atan(b / a), derivative.log()
