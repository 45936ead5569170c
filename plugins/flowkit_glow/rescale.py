"""Defines the map from data units to a range around 0 that suits networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from flowkit.bijectors import AffineMap, ChannelLinear


class Rescale(ChannelLinear):
    """The map y = (x - low) / (high - low) - ½, which takes [low, high) to [-½, ½);  log|det| = -D log(high - low).

    D is the number of values of an event.

    Args:
        event_shape: [d], or [channels, height, width].
        low: The value that is mapped to -½.
        high: The value that is mapped to ½. For integers 0 … levels - 1 it is the number of levels.

    Examples:
        >>> import torch
        >>> from flowkit_glow.rescale import Rescale
        >>> y, log_det = Rescale((2,), low=0, high=256).forward_and_log_det(torch.tensor([[0.0, 128.0]]))
        >>> y, log_det  # -2 log 256
        (tensor([[-0.5000,  0.0000]]), tensor([-11.0904]))
    """

    def __init__(self, event_shape: Sequence[int], low: float, high: float) -> None:
        super().__init__(event_shape)
        self.low, self.high = low, high

    def affine(self) -> AffineMap:
        scale, shift = 1 / (self.high - self.low), -self.low / (self.high - self.low) - 0.5
        return self._constant(scale, shift)

    def affine_inverse(self) -> AffineMap:
        return self._constant(self.high - self.low, (self.high + self.low) / 2)

    def _constant(self, scale: float, shift: float) -> AffineMap:
        c = self.event_shape[0]
        matrix, log_det = (torch.tensor(number, dtype=torch.float64) for number in (scale, c * math.log(scale)))
        return AffineMap(matrix, torch.full((c,), shift, dtype=torch.float64), log_det)
