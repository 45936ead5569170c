"""Defines the split NAME/split."""

from collections.abc import Sequence

import torch
from flowkit.bijectors import Split
from torch import Tensor


class NameSplit(Split):
    """Divides x [batch, c, …] into its first ``kept`` channels, and the others."""

    def __init__(self, event_shape: Sequence[int], kept: int = 1) -> None:
        super().__init__(event_shape)
        self.kept = kept

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.kept], x[:, self.kept :]

    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        return torch.cat([kept, transformed], 1)
