"""One piece of a rational-quadratic spline: its value, its derivative, its inverse, and their adjoints.

The unit square of a bin: ξ runs from 0 to 1, and so does the share η of the bin's height that is climbed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Bin(NamedTuple):
    """The bin of each element: its lower-left knot (u, v), width, height, and the derivatives at its two knots."""

    u: Tensor
    v: Tensor
    width: Tensor
    height: Tensor
    d0: Tensor
    d1: Tensor


class Curve:
    """The curve of a bin at ξ (Durkan et al. 2019, eq. 4-5), s = height / width, by repeated interpolation:

    first = (1 - ξ) d0 + ξ s    second = (1 - ξ) s + ξ d1    η = ξ first / denominator
    numerator = (1 - ξ) first + ξ second    denominator = (1 - ξ) second + ξ first
    dv/du = s² numerator / denominator²

    Everything is a mean of positive numbers: nothing cancels, however steep the bin.
    """

    def __init__(self, b: Bin, xi: Tensor) -> None:
        self.b, self.xi, self.s = b, xi, b.height / b.width
        self.first, self.second = torch.lerp(b.d0, self.s, xi), torch.lerp(self.s, b.d1, xi)
        self.numerator = torch.lerp(self.first, self.second, xi)
        self.denominator = torch.lerp(self.second, self.first, xi)
        self.eta = xi * self.first / self.denominator

    def log_derivative(self) -> Tensor:
        """log dv/du."""
        return (self.numerator * (self.s / self.denominator).square()).log()

    def adjoints(self, g_eta: Tensor | float, g_log: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients for ξ, s, d0 and d1, of those for η and for the log-derivative: the chain rule, backwards."""
        b, xi, rest = self.b, self.xi, 1 - self.xi
        # η = α / (α + β), α = ξ first, β = (1 - ξ) second, α + β = denominator
        g_alpha = (g_eta * (1 - self.eta) - 2 * g_log) / self.denominator
        g_beta = -(g_eta * self.eta + 2 * g_log) / self.denominator
        g_numerator = g_log / self.numerator
        g_first = torch.addcmul(xi * g_alpha, rest, g_numerator)
        g_second = torch.addcmul(rest * g_beta, xi, g_numerator)
        g_s = torch.addcmul(xi * g_first, rest, g_second) + 2 * g_log / self.s
        g_xi = self.first * g_alpha - self.second * g_beta + (self.second - self.first) * g_numerator
        g_xi = g_xi + (self.s - b.d0) * g_first + (b.d1 - self.s) * g_second
        return g_xi, g_s, rest * g_first, xi * g_second


def solve(b: Bin, eta: Tensor) -> Tensor:
    """The ξ where the share η of the height is climbed.

    With z = ξ / (1 - ξ) it is (1 - η) s z² + q z - η s = 0, q = (1 - η) d0 - η d1, whose discriminant
    q² + 4 s² η (1 - η) is a sum. Where q < 0 the same is solved for 1 - ξ, from the other end of the bin: no
    difference of large numbers is taken, and no rounding leads out of 0 … 1.
    """
    s, q = b.height / b.width, torch.lerp(b.d0, -b.d1, eta)
    root = (q.square() + 4 * s.square() * eta * (1 - eta)).sqrt()
    mirrored = q < 0
    rise = 2 * s * torch.where(mirrored, 1 - eta, eta)
    xi = rise / (rise + root + torch.where(mirrored, -q, q))
    return torch.where(mirrored, 1 - xi, xi)
