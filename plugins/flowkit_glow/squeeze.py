"""Defines the squeeze, which turns blocks of positions into channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Bijector
from flowkit.plugin import Shape
from flowkit_glow.plugin import SqueezeConfig


class Squeeze(Bijector):
    """The reordering [c, h, w] -> [c·f², h/f, w/f] of the values;  log|det| = 0.

    Args:
        event_shape: [channels, height, width]. Height and width are divisible by the factor.
        factor: The side length f of the blocks that become channels.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP", §3.6.

    Examples:
        >>> import torch
        >>> from flowkit_glow.squeeze import Squeeze
        >>> Squeeze((1, 4, 4)).forward_and_log_det(torch.zeros(5, 1, 4, 4))[0].shape
        torch.Size([5, 4, 2, 2])
    """

    def __init__(self, event_shape: Sequence[int], factor: int = 2) -> None:
        super().__init__(event_shape)
        self.factor = factor

    @property
    def output_shape(self) -> Shape:
        return SqueezeConfig(factor=self.factor).output_shape(self.event_shape)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        n, c, h, w = x.shape
        f = self.factor
        y = F.pixel_unshuffle(x, f) if n else x.reshape(n, c * f * f, h // f, w // f)  # which takes no empty batch
        return y, x.new_zeros(n)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        n, c, h, w = y.shape
        f = self.factor
        x = F.pixel_shuffle(y, f) if n else y.reshape(n, c // (f * f), h * f, w * f)
        return x, y.new_zeros(n)
