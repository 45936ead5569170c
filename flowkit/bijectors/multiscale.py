"""Defines FactorOut, which takes part of an event out as a latent, and the bijection x <-> (z_1, …, z_L).

Factor-outs divide layers into segments. Each ends with a factor-out, except the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import Bijector
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


Layer = Bijector | FactorOut
"""A layer of a flow."""

Through = Callable[[Sequence[Bijector], Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""A function that applies the bijectors of a segment: (bijectors, x, context) -> (y, log|det| [batch])."""


def segments(layers: Sequence[Layer]) -> Iterator[tuple[list[Bijector], FactorOut | None]]:
    """Yield the bijectors of each segment, and the factor-out that ends it, or None."""
    bijectors: list[Bijector] = []
    for layer in layers:
        if isinstance(layer, FactorOut):
            yield bijectors, layer
            bijectors = []
        else:
            bijectors.append(layer)
    yield bijectors, None


def shapes_of_latents(layers: Sequence[Layer]) -> list[Shape]:
    """Return the event shapes of z_1 … z_L."""
    left = [layer.latent_shape for layer in layers if isinstance(layer, FactorOut)]
    return [*left, layers[-1].output_shape]


def to_latents(
    layers: Sequence[Layer], x: Tensor, context: Tensor | None, through: Through
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the latents (z_1, …, z_L) of x, and log|det| [batch]. ``through`` applies each segment."""
    latents, log_det = [], x.new_zeros(x.shape[0])
    for bijectors, factor_out in segments(layers):
        x, term = through(bijectors, x, context)
        log_det = log_det + term
        if factor_out is not None:
            x, z = factor_out.take_out(x)
            latents.append(z)
    return (*latents, x), log_det


def from_latents(
    layers: Sequence[Layer], latents: Sequence[Tensor], context: Tensor | None, through: Through
) -> tuple[Tensor, Tensor]:
    """Return the x of latents, and log|det| [batch] of this inverse map. ``through`` applies each segment."""
    *left, x = latents
    log_det = x.new_zeros(x.shape[0])
    for bijectors, factor_out in reversed(list(segments(layers))):
        if factor_out is not None:
            x = factor_out.put_back(x, left.pop())
        x, term = through(bijectors, x, context)
        log_det = log_det + term
    return x, log_det
