"""Defines base distributions, the densities of a flow's last latent."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from flowkit.bijectors.bijector import sum_over_event


class Base(nn.Module, ABC):
    """A density of events [*event_shape]. It is sampled by transforming standard normal noise."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, [batch]."""

    @abstractmethod
    def from_noise(self, eps: Tensor) -> Tensor:
        """Turn noise eps ~ N(0, I), [batch, *event_shape], into samples z ~ p of the same shape."""


class StandardNormal(Base):
    """The standard normal distribution N(0, I): log p(z) = -½ Σ (z² + log 2π)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (sum_over_event(z.square()) + math.prod(z.shape[1:]) * math.log(2 * math.pi))

    def from_noise(self, eps: Tensor) -> Tensor:
        return eps
