"""Defines the uniform distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Base, Noise
from flowkit.plugin import Domains, by_coordinate


class Uniform(Base):
    """The uniform distribution on a box or a torus: log p(z) = -Σ log(high - low) inside, and -∞ outside.

    It is sampled from one uniform number u for each value, as low + (high - low) u.

    Args:
        event_shape: The shape of one latent.
        bounds: An interval or a circle for all coordinates, or a tuple with one for each coordinate of a vector.

    Examples:
        >>> import torch
        >>> from flowkit.plugin import Interval
        >>> from flowkit_base.uniform import Uniform
        >>> Uniform((1,), Interval(0, 4)).log_prob(torch.tensor([[1.0], [5.0]]))  # -log 4, -∞
        tensor([-1.3863,    -inf])
    """

    def __init__(self, event_shape: Sequence[int], bounds: Domains) -> None:
        super().__init__(event_shape)
        self.bounds = bounds
        log_lengths = [math.log(domain.high - domain.low) for domain in by_coordinate(bounds)]
        self.log_volume = math.prod(self.event_shape) / len(log_lengths) * math.fsum(log_lengths)

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("uniform", self.event_shape),)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        low, high = self._ends(z)
        inside = ((z >= low) & (z <= high)).flatten(1).all(1)
        return torch.where(inside, z.new_full((), -self.log_volume), -math.inf)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (u,) = noise
        low, high = self._ends(u)
        return low + (high - low) * u

    def _ends(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lower and the upper ends, [1] or [d], in the precision of z."""
        domains = by_coordinate(self.bounds)
        return z.new_tensor([each.low for each in domains]), z.new_tensor([each.high for each in domains])
