"""The rational-quadratic spline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.flow import Transformer

MIN_SHARE = 1e-3
"""The least share of a bin's equal part that its width and its height keep: slopes stay finite."""
MIN_SLOPE = 1e-3
"""The least derivative at a knot."""


@dataclass(frozen=True)
class Bin:
    """The bin of each element: its lower-left knot (x, y), width, height, and the derivatives at its two knots."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    d0: Tensor
    d1: Tensor


class RationalQuadratic(Transformer):
    """A monotonic rational-quadratic spline on [-B, B] with linear tails (Durkan et al. 2019, §3.1).

    θ holds K widths and K heights, before softmax, and K - 1 derivatives at the inner knots, before softplus; the
    derivatives at ±B are 1, as in the tails. At θ = 0 it is the identity.
    """

    def __init__(self, bins: int = 8, bound: float = 3.0) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.n_params = 3 * bins - 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        inside, x_in = self._clamp(x)
        knots_x, knots_y, slopes = self._knots(theta)
        b = _gather(knots_x, knots_y, slopes, _find(knots_x, x_in))
        xi = (x_in - b.x) / b.width  # ξ, the position in the bin, 0 … 1
        s = b.height / b.width
        denominator = s + (b.d1 + b.d0 - 2 * s) * xi * (1 - xi)
        y = b.y + b.height * (s * xi.square() + b.d0 * xi * (1 - xi)) / denominator  # eq. 4
        return torch.where(inside, y, x), torch.where(inside, _log_derivative(b, s, xi, denominator), 0)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        inside, y_in = self._clamp(y)
        knots_x, knots_y, slopes = self._knots(theta)
        b = _gather(knots_x, knots_y, slopes, _find(knots_y, y_in))
        s = b.height / b.width
        rise, bend = y_in - b.y, b.d1 + b.d0 - 2 * s
        qa = b.height * (s - b.d0) + rise * bend  # eq. 6-8: qa ξ² + qb ξ + qc = 0
        qb = b.height * b.d0 - rise * bend
        qc = -s * rise
        root = (qb.square() - 4 * qa * qc).clamp(min=torch.finfo(y.dtype).tiny).sqrt()  # at 0 its gradient is infinite
        xi = 2 * qc / (-qb - root)  # the form that does not cancel
        xi = xi + (xi.clamp(0, 1) - xi).detach()  # rounding may still leave the bin, and must not take the gradient
        x = b.x + xi * b.width
        denominator = s + bend * xi * (1 - xi)
        return torch.where(inside, x, y), torch.where(inside, -_log_derivative(b, s, xi, denominator), 0)

    def _clamp(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is inside, and x with the rest moved to ±B, so that no branch gives NaN, or a NaN gradient."""
        return x.abs() < self.bound, x.clamp(-self.bound, self.bound)

    def _knots(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [batch, K+1, *event], y [batch, K+1, *event] and slopes [batch, K+1, *event] of the knots."""
        widths, heights, slopes = theta.split([self.bins, self.bins, self.bins - 1], 1)
        slopes = MIN_SLOPE + F.softplus(slopes + math.log(math.expm1(1 - MIN_SLOPE)))  # 1 at θ = 0
        return self._edges(widths), self._edges(heights), F.pad(slopes, _pad_dim1(slopes.dim()), value=1.0)

    def _edges(self, logits: Tensor) -> Tensor:
        shares = MIN_SHARE / self.bins + (1 - MIN_SHARE) * logits.softmax(1)
        inner = 2 * self.bound * shares[:, :-1].cumsum(1) - self.bound
        inner = F.pad(inner, _pad_dim1(logits.dim(), after=False), value=-self.bound)
        return F.pad(inner, _pad_dim1(logits.dim(), before=False), value=self.bound)


def _find(knots: Tensor, value: Tensor) -> Tensor:
    """The index of the bin that holds each element, [batch, 1, *event]: how many inner knots lie below it."""
    return (value.unsqueeze(1) >= knots[:, 1:-1]).sum(1, keepdim=True)


def _gather(knots_x: Tensor, knots_y: Tensor, slopes: Tensor, index: Tensor) -> Bin:
    x0, x1, y0, y1, d0, d1 = (
        knots.gather(1, at).squeeze(1) for knots in (knots_x, knots_y, slopes) for at in (index, index + 1)
    )
    return Bin(x0, y0, x1 - x0, y1 - y0, d0, d1)


def _log_derivative(b: Bin, s: Tensor, xi: Tensor, denominator: Tensor) -> Tensor:
    """log dy/dx at ξ (eq. 5)."""
    numerator = s.square() * (b.d1 * xi.square() + 2 * s * xi * (1 - xi) + b.d0 * (1 - xi).square())
    return numerator.log() - 2 * denominator.log()


def _pad_dim1(dims: int, before: bool = True, after: bool = True) -> list[int]:
    """F.pad's argument for one more entry before and after along dim 1."""
    return [0, 0] * (dims - 2) + [int(before), int(after)]
