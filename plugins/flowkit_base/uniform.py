"""Defines the uniform distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        domains = by_coordinate(bounds)
        self.low, self.high = [each.low for each in domains], [each.high for each in domains]
        self.lengths = [each.high - each.low for each in domains]
        self.log_volume = math.prod(self.event_shape) / len(domains) * math.fsum(map(math.log, self.lengths))

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("uniform", self.event_shape),)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        inside = (z >= z.new_tensor(self.low)) & (z <= z.new_tensor(self.high))
        outside = (~inside).flatten(1).any(1)
        return z.new_full(outside.shape, -self.log_volume).masked_fill_(outside, -math.inf)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (u,) = noise
        return u.new_tensor(self.low) + u.new_tensor(self.lengths) * u
