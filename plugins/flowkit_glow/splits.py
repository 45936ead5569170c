"""Defines ways to divide an event for a coupling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Split
from flowkit.plugin import halve


class Channels(Split):
    """Keeps the first half of the channels and transforms the second. ``swap`` exchanges the two."""

    def __init__(self, event_shape: Sequence[int], swap: bool = False) -> None:
        super().__init__(event_shape)
        self.swap = swap
        self.middle, _ = halve(self.event_shape[0])

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split([self.middle, x.shape[1] - self.middle], 1)
        return (second, first) if self.swap else (first, second)

    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        return torch.cat([transformed, kept] if self.swap else [kept, transformed], 1)


class Checkerboard(Split):
    """Keeps the positions with even row + column and transforms the others. ``swap`` exchanges the two.

    Each part is packed to [c, h, w/2]: one of each pair of neighbours in a row goes to each part. Networks then see
    half of the image without gaps. The masks of Dinh et al. 2017, §3.4, would make them compute on the gaps, too.
    """

    def __init__(self, event_shape: Sequence[int], swap: bool = False) -> None:
        super().__init__(event_shape)
        self.swap = swap

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pairs = self._flip_odd_rows(x.unflatten(-1, (-1, 2)))  # [batch, c, h, w/2, 2]
        return pairs[..., 0], pairs[..., 1]

    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        return self._flip_odd_rows(torch.stack([kept, transformed], -1)).flatten(-2)

    def _flip_odd_rows(self, pairs: Tensor) -> Tensor:
        """Exchange the two of each pair in every other row. This is its own inverse."""
        row = torch.arange(pairs.shape[2], device=pairs.device)[:, None, None]  # [h, 1, 1]
        return torch.where((row + self.swap) % 2 == 0, pairs, pairs.flip(-1))
