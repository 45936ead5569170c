"""Defines activation normalization."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import AffineMap, ChannelLinear, std_or_1


class ActNorm(ChannelLinear):
    """The map y = s ⊙ x + b of each channel, with s = exp(log_scale) > 0;  log|det| = h·w·Σ log s_i.

    The first batch sets s and b so that each channel has mean 0 and variance 1. A channel that is constant in that
    batch gets s = 1. So do all channels if the batch is a single vector.

    Args:
        event_shape: [d], or [channels, height, width]. s and b have one entry for each channel, or value of a vector.

    References:
        Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", §3.1.

    Examples:
        >>> import torch
        >>> from flowkit_glow.actnorm import ActNorm
        >>> layer = ActNorm((2,))
        >>> with torch.no_grad():
        ...     layer.initialize(torch.tensor([[0.0, 4.0], [2.0, 8.0]]))
        >>> y, log_det = layer.forward_and_log_det(torch.tensor([[2.0, 8.0]]))
        >>> y.tolist(), log_det.exp().item()  # standard deviations 1 and 2
        ([[1.0, 1.0]], 0.5)
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(self.event_shape[0]))
        self.bias = nn.Parameter(torch.zeros(self.event_shape[0]))

    def affine(self) -> AffineMap:
        return AffineMap(self.log_scale.exp(), self.bias, self.log_scale.sum())

    def affine_inverse(self) -> AffineMap:
        scale = (-self.log_scale).exp()
        return AffineMap(scale, -scale * self.bias, -self.log_scale.sum())

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        log_scale, bias = normalizing(x)
        self.log_scale.copy_(log_scale)
        self.bias.copy_(bias)


def normalizing(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log s and b, [c] each, for which s ⊙ x + b has mean 0 and variance 1 in each channel of x [batch, c, …].

    A constant channel gets s = 1.
    """
    rows = x.movedim(1, -1).flatten(0, -2)  # [batch·h·w, c]
    mean, std = rows.mean(0), std_or_1(rows.std(0, correction=0), rows.abs().amax(0))
    return -std.log(), -mean / std
