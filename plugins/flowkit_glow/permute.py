"""Defines fixed permutations of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import AffineMap, ChannelLinear
from flowkit_glow.plugin import PermuteConfig


class Permute(ChannelLinear):
    """The permutation y_i = x_{order[i]} of the channels;  log|det| = 0.

    Args:
        event_shape: [d], or [channels, height, width].
        order: ``"reverse"``, ``"random"`` for a permutation that is drawn now and saved with the weights, or the
            indices order[i], counted from 0.

    Raises:
        ShapeError: If ``order`` lists more or fewer indices than there are channels.

    Examples:
        >>> import torch
        >>> from flowkit_glow.permute import Permute
        >>> y, log_det = Permute((3,), order=[2, 0, 1]).forward_and_log_det(torch.tensor([[10.0, 11.0, 12.0]]))
        >>> y, log_det
        (tensor([[12., 10., 11.]]), tensor([0.]))
    """

    index: Tensor

    def __init__(self, event_shape: Sequence[int], order: str | Sequence[int] = "reverse") -> None:
        super().__init__(event_shape)
        self.order = order if isinstance(order, str) else tuple(order)
        PermuteConfig(order=self.order).output_shape(self.event_shape)
        self.register_buffer("index", _index(self.order, self.event_shape[0]))

    def affine(self) -> AffineMap:
        return _permuting(self.index)

    def affine_inverse(self) -> AffineMap:
        return _permuting(self.index.argsort())


def _permuting(index: Tensor) -> AffineMap:
    return AffineMap(index, None, torch.zeros((), device=index.device))


def _index(order: str | Sequence[int], c: int) -> Tensor:
    """Return order[i] for each of the c channels."""
    match order:
        case "reverse":
            return torch.arange(c).flip(0)
        case "random":
            return torch.randperm(c)
    return torch.tensor(order)
