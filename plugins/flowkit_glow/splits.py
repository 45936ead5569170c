"""Defines ways to divide an event for a coupling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Split
from flowkit.plugin import halve


class Channels(Split):
    """A split that keeps the first half of the channels and transforms the second.

    An odd number of channels c is divided so that the first part has (c + 1) / 2 of them.

    Args:
        event_shape: [d], or [channels, height, width], with at least two channels or values.
        swap: Keep the second part instead, and transform the first.

    Examples:
        >>> import torch
        >>> from flowkit_glow.splits import Channels
        >>> Channels((3,)).split(torch.tensor([[1.0, 2.0, 3.0]]))
        (tensor([[1., 2.]]), tensor([[3.]]))
    """

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
    """A split that keeps the positions with even row + column and transforms the others.

    Each part is packed to [c, h, w/2]: one of each pair of neighbours in a row goes to each part. Networks then see
    half of the image without gaps. With the masks of the paper they would compute on the gaps, too.

    Args:
        event_shape: [channels, height, width], with an even width.
        swap: Keep the positions with odd row + column instead, and transform the others.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP", §3.4.

    Examples:
        >>> import torch
        >>> from flowkit_glow.splits import Checkerboard
        >>> kept, transformed = Checkerboard((1, 2, 2)).split(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        >>> kept.flatten(), transformed.flatten()
        (tensor([1., 4.]), tensor([2., 3.]))
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
