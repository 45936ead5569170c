"""Fixed permutations of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.flow import ChannelLinear


class Permute(ChannelLinear):
    """y_i = x_{order[i]} for each channel i;  log|det| = 0."""

    index: Tensor

    def __init__(self, event_shape: Sequence[int], order: str = "reverse") -> None:
        super().__init__(event_shape)
        self.order = order
        c = self.event_shape[0]
        self.register_buffer("index", torch.arange(c).flip(0) if order == "reverse" else torch.randperm(c))

    def channels(self, v: Tensor) -> Tensor:
        return v[:, self.index]

    def channels_inverse(self, v: Tensor) -> Tensor:
        return v[:, self.index.argsort()]

    def log_det(self) -> Tensor:
        return torch.zeros(())
