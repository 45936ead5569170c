"""Rescaling of data units to a range that networks like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.flow import ChannelLinear


class Rescale(ChannelLinear):
    """y = (x - low) / (high - low) - ½, so that [low, high) becomes [-½, ½);  log|det| = -D log(high - low)."""

    def __init__(self, event_shape: Sequence[int], low: float, high: float) -> None:
        super().__init__(event_shape)
        self.low, self.high = low, high
        self.scale, self.shift = 1 / (high - low), -low / (high - low) - 0.5

    def channels(self, v: Tensor) -> Tensor:
        return v * self.scale + self.shift

    def channels_inverse(self, v: Tensor) -> Tensor:
        return (v - self.shift) / self.scale

    def log_det(self) -> Tensor:
        return torch.tensor(-self.event_shape[0] * math.log(self.high - self.low), dtype=torch.float64)
