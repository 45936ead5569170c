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


class Evaluation(NamedTuple):
    """The spline at each element, and what its gradients are made of."""

    output: Tensor
    log_derivative: Tensor
    inside: Tensor
    """1 on (-B, B), else 0."""
    probabilities: Tensor
    """Softmax of widths and heights, [2, K, batch, *event]."""
    below: Tensor
    """1 for the bins that end at or before the element, else 0, [K, batch, *event]."""
    slope_logits: Tensor
    """What softplus makes d0 and d1 of, [2, batch, *event]."""
    curve: Curve


def side(bound: float) -> float:
    """The side of the square [-B, B]² in the unit in which bins have widths softmax + ε."""
    return 2 * bound * (1 - MIN_SHARE)


def evaluate(value: Tensor, theta: Tensor, bound: float, inverse: bool) -> Evaluation:
    """The spline, or its inverse, at each element of ``value`` [batch, *event], θ [batch, 3K - 1, *event].

    The parameters come first, as softmax then lays them out: what is done over bins is done to whole batches.
    """
    bins = (theta.shape[1] + 1) // 3
    logits, slopes = theta.movedim(1, 0).split([2 * bins, bins - 1])
    probabilities = logits.unflatten(0, (2, bins)).softmax(1)
    shares = probabilities + MIN_SHARE / (1 - MIN_SHARE) / bins
    inside = value.detach().abs().lt_(bound)  # in place: it is 0 or 1, not bool, and multiplies fast
    at = (value.clamp(-bound, bound) + bound) / side(bound)
    below = _below(shares[int(inverse)].detach(), at.detach())
    index = below.sum(0, keepdim=True).long()
    slopes = F.pad(slopes, [0, 0] * at.dim() + [1, 1])  # at ±B as at θ = 0: 1
    slope_logits = _pick(slopes, torch.cat([index, index + 1]), 0) + math.log(math.expm1(1 - MIN_SLOPE))
    b = Bin(
        *(shares * below).sum(1), *_pick(shares, index.expand_as(shares[:, :1]), 1).squeeze(1), *_slope(slope_logits)
    )
    if inverse:
        curve = Curve(b, solve(b, _within((at - b.v) / b.height)))
        found, log_derivative = b.u + b.width * curve.xi, -curve.log_derivative()
    else:
        curve = Curve(b, _within((at - b.u) / b.width))
        found, log_derivative = b.v + b.height * curve.eta, curve.log_derivative()
    output = torch.addcmul(value, inside, found - at, value=side(bound))
    return Evaluation(output, log_derivative * inside, inside, probabilities, below, slope_logits, curve)


def _below(shares: Tensor, at: Tensor) -> Tensor:
    """The bin search: 1 for the bins that end at or before each element, else 0."""
    ends = shares.cumsum(0)
    ends[-1] = math.inf  # the last bin holds what rounding leaves over
    return (at - ends).ge_(0)


def _pick(table: Tensor, index: Tensor, dim: int) -> Tensor:
    """table.gather(dim, index); compiled, the same as a masked sum, which fuses with what is around it."""
    if not torch.compiler.is_compiling():
        return table.gather(dim, index)
    k = torch.arange(table.shape[dim], device=table.device).reshape(-1, *(1 for _ in table.shape[dim + 1 :]))
    return torch.cat([(table * (i == k)).sum(dim, keepdim=True) for i in index.split(1, dim)], dim)


def _slope(logits: Tensor) -> Tensor:
    return MIN_SLOPE + F.softplus(logits)


def _within(position: Tensor) -> Tensor:
    """0 … 1: rounding may leave the bin, and must not take the gradient."""
    inner = position.clamp(0, 1)
    return position + (inner - position).detach() if position.requires_grad else inner
