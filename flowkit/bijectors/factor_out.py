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

    It has no parameters, and log|det| = 0 (Dinh et al. 2017, section 3.6).

    Glow's learned conditional prior of z is equivalent to an affine coupling directly before this step, if it
    transforms the half that becomes z.
    """

    directions: ClassVar[Shared] = "both"

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)
        kept, leaves = halve(event_shape[0])
        self.output_shape: Shape = (kept, *event_shape[1:])
        self.latent_shape: Shape = (leaves, *event_shape[1:])

    def take_out(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide x [batch, c, …] into (kept, z)."""
        kept, z = x.split([self.output_shape[0], self.latent_shape[0]], 1)
        return kept, z

    def put_back(self, kept: Tensor, z: Tensor) -> Tensor:
        """Concatenate kept and z. This is the inverse of `take_out`."""
        return torch.cat([kept, z], 1)
