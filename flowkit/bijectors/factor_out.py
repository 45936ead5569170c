"""Defines FactorOut, which takes part of the event out of the flow as a latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.directions import Shared
from flowkit.shapes import Shape, halve


class FactorOut(nn.Module):
    """A step that takes a slice of the channels out of the event, as a latent z: x -> (kept, z).

    It has no parameters, and log|det| = 0. z has half of the channels, rounded down, and they are the last ones.

    Glow's learned conditional prior of z is equivalent to an affine coupling directly before this step, if it
    transforms the half that becomes z.

    Args:
        event_shape: The shape of one event, without the batch. The first entry, the number of channels, is at least 2.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP", section 3.6.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import FactorOut
        >>> kept, z = FactorOut((5, 2, 2)).take_out(torch.zeros(1, 5, 2, 2))
        >>> kept.shape, z.shape
        (torch.Size([1, 3, 2, 2]), torch.Size([1, 2, 2, 2]))
    """

    directions: ClassVar[Shared] = "both"

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)
        kept, leaves = halve(event_shape[0])
        self.output_shape: Shape = (kept, *event_shape[1:])
        self.latent_shape: Shape = (leaves, *event_shape[1:])

    def take_out(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide the channels of an event.

        Args:
            x: The events, [batch, c, …].

        Returns:
            kept [batch, c - c//2, …] and the latent z [batch, c//2, …].
        """
        kept, z = x.split([self.output_shape[0], self.latent_shape[0]], 1)
        return kept, z

    def put_back(self, kept: Tensor, z: Tensor) -> Tensor:
        """Return the events whose parts are kept and z, [batch, c, …]. This is the inverse of ``take_out``.

        Args:
            kept: The part that stays in the flow, [batch, c - c//2, …].
            z: The latent, [batch, c//2, …].
        """
        return torch.cat([kept, z], 1)
