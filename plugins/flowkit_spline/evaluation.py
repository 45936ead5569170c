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
MIDDLE = 1 / (2 * (1 - MIN_SHARE))
"""Half the side of the square, in the unit in which bins have widths softmax + ε."""


class Evaluation(NamedTuple):
    """The spline at each element, and what its gradients are made of."""

    output: Tensor
    log_derivative: Tensor
    inside: Tensor
    """1 on (-B, B), else 0."""
    probabilities: Tensor
    """Softmax of widths and heights, [2, K, batch, *event]."""
    below: Tensor
    """½ for the bins that end at or before the element, else -½, [K, batch, *event]: Σ shares · below, half of what is
    left of the bin less half of the rest, is where the bin begins."""
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
    inside = value.detach().abs().lt_(bound)  # in place: it is 0 or 1, not bool, and multiplies fast
    at = value.clamp(-bound, bound) / unit(bound)
    below = _below(shares[int(inverse)].detach(), at.detach() + MIDDLE)
    here = bin_of(below)
    corner, size = (shares * below).sum(1), (shares * here).sum(1)
    # At ±B as at θ = 0: the derivative is 1.
    slope_logits = torch.stack([(slopes * here[1:]).sum(0), (slopes * here[:-1]).sum(0)])
    slope_logits = slope_logits + math.log(math.expm1(1 - MIN_SLOPE))
    d = MIN_SLOPE + F.softplus(slope_logits)
    b = Bin(corner[0], corner[1], size[0], size[1], d[0], d[1])
    if inverse:
        curve = Curve(b, solve(b, _within((at - b.v) / b.height)))
        found, log_derivative = b.u + b.width * curve.xi, -curve.log_derivative()
    else:
        curve = Curve(b, _within((at - b.u) / b.width))
        found, log_derivative = b.v + b.height * curve.eta, curve.log_derivative()
    output = torch.addcmul(value, inside, found - at, value=unit(bound))
    return Evaluation(output, log_derivative * inside, inside, probabilities, below, slope_logits, curve)


def _below(shares: Tensor, from_left: Tensor) -> Tensor:
    """The bin search: ½ for the bins that end at or before each element, else -½. The last never ends."""
    return F.pad((from_left - shares[:-1].cumsum(0)).ge_(0).sub_(0.5), [0, 0] * from_left.dim() + [0, 1], value=-0.5)


def bin_of(below: Tensor) -> Tensor:
    """1 for the bin that holds each element, else 0, [K, batch, *event]."""
    return F.pad(below[:-1], [0, 0] * (below.dim() - 1) + [1, 0], value=0.5) - below


def _within(position: Tensor) -> Tensor:
    """0 … 1: rounding may leave the bin, and must not take the gradient."""
    inner = position.clamp(0, 1)
    return position + (inner - position).detach() if position.requires_grad else inner
