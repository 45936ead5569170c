"""The formula of the rational-quadratic spline, both ways."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit_spline.curve import Bin, Curve, solve

MIN_SHARE = 1e-3
"""The least share of a bin's equal part that its width and its height keep: slopes stay finite."""
MIN_SLOPE = 1e-3
"""The least derivative at a knot."""
SLOPE_1 = math.log(math.expm1(1 - MIN_SLOPE))
"""What softplus makes a derivative of 1 of: that at ±B, and at θ = 0."""
STEEP = 1e30
"""It makes at least 1 of any difference that there can be between two positions."""
MIDDLE = 1 / (2 * (1 - MIN_SHARE))
"""Half the side of the square, in the unit in which bins have widths softmax + ε."""


class Evaluation(NamedTuple):
    """The spline at each element, and what its gradients are made of. Output and log-derivative are [batch, *event],
    all else has its parameters first: [1, batch, *event] where there is one."""

    output: Tensor
    log_derivative: Tensor
    inside: Tensor
    """1 on (-B, B), else 0."""
    probabilities: Tensor
    """Softmax of widths and heights, [2, K, batch, *event]."""
    sides: Tensor
    """½ for the knots at or before the element, else -½, [K + 1, batch, *event]."""
    slope_logits: Tensor
    """What softplus makes d0 and d1 of, [2, batch, *event]."""
    curve: Curve


def unit(bound: float) -> float:
    """What bins have widths softmax + ε in."""
    return bound / MIDDLE


def evaluate(value: Tensor, theta: Tensor, bound: float, inverse: bool) -> Evaluation:
    """The spline, or its inverse, at each element of ``value`` [batch, *event], θ [batch, 3K - 1, *event].

    The parameters come first, as softmax then lays them out: what is done over bins is done to whole batches. Positions
    are counted from the middle of the square, where the data is: from a corner, rounding would be twice as large.
    """
    bins = (theta.shape[1] + 1) // 3
    logits, slopes = theta.movedim(1, 0).split([2 * bins, bins - 1])
    probabilities = logits.unflatten(0, (2, bins)).softmax(1)
    shares = probabilities + MIN_SHARE / (1 - MIN_SHARE) / bins
    value = value.unsqueeze(0)
    inside = value.detach().abs().lt_(bound)  # in place: it is 0 or 1, not bool, and multiplies fast
    at = value.clamp(-bound, bound) * (1 / unit(bound))
    searched = shares.flatten(0, 1).narrow(0, bins * inverse, bins - 1)
    sides = _sides(searched.detach().cumsum(0), at.detach() + MIDDLE)
    here = bin_of(sides)
    u, v = _sums(shares, sides[1:])  # half of what is left of the bin, less half of the rest: where it begins
    width, height = _sums(shares, here)
    slope_logits = SLOPE_1 + torch.cat([(slopes * knot).sum(0, keepdim=True) for knot in ends_of(here)])
    b = Bin(u, v, width, height, *(MIN_SLOPE + F.softplus(slope_logits)).chunk(2))
    if inverse:
        curve = Curve(b, solve(b, _within((at - v) / height)))
        found, log_derivative = u + width * curve.xi, -curve.log_derivative()
    else:
        curve = Curve(b, _within((at - u) / width))
        found, log_derivative = v + height * curve.eta, curve.log_derivative()
    output = torch.addcmul(value, inside, found - at, value=unit(bound)).squeeze(0)
    return Evaluation(output, (log_derivative * inside).squeeze(0), inside, probabilities, sides, slope_logits, curve)


def _sides(inner: Tensor, from_left: Tensor) -> Tensor:
    """The bin search among the inner knots. The first knot of all is before each element, the last is not.

    A steep line stands for the step at 0: torch.compile is slow with bools that are kept for the backward pass.
    """
    others = [0, 0] * (inner.dim() - 1)
    knots = F.pad(F.pad(inner, [*others, 1, 0], value=-math.inf), [*others, 0, 1], value=math.inf)
    return (from_left - knots).mul_(STEEP).add_(0.5).clamp_(-0.5, 0.5)


def bin_of(sides: Tensor) -> Tensor:
    """1 for the bin that holds each element, else 0, [K, batch, *event]."""
    return sides[:-1] - sides[1:]


def ends_of(here: Tensor) -> tuple[Tensor, Tensor]:
    """1 for the inner knot at the left end of the bin, and at the right, else 0, [K - 1, batch, *event] each."""
    return here[1:], here[:-1]


def _sums(shares: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Of widths and of heights over the bins, weighted."""
    of_widths, of_heights = (shares * weights).sum(1).chunk(2)
    return of_widths, of_heights


def _within(position: Tensor) -> Tensor:
    """0 … 1: rounding may leave the bin, and must not take the gradient."""
    inner = position.clamp(0, 1)
    return position + (inner - position).detach() if position.requires_grad else inner
