"""Defines the normal distribution with a diagonal covariance, and what such distributions share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, log_normal, sum_over_event


class DiagonalBase(Base):
    """A normal distribution with a diagonal covariance, z = μ + σ ε, whose μ and σ may depend on the context."""

    @abstractmethod
    def _mean_and_log_scale(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return μ and log σ, [batch or 1, *event]."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(context)
        return log_normal((z - mean) * (-log_scale).exp()) - sum_over_event(log_scale)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (eps,) = noise
        mean, log_scale = self._mean_and_log_scale(context)
        return mean + log_scale.exp() * eps


class DiagonalNormal(DiagonalBase):
    """Independent normals z = μ + σ ε, with a learned mean μ and standard deviation σ = exp(log_scale) of each value.

    log p(z) = -½ Σ [((z - μ) / σ)² + log 2π] - Σ log σ. At the start μ = 0 and σ = 1.

    Args:
        event_shape: The shape of one latent.

    Examples:
        >>> import torch
        >>> from flowkit_base.diagonal_normal import DiagonalNormal
        >>> DiagonalNormal((3,)).log_prob(torch.zeros(2, 3)).detach()  # -1½ log 2π
        tensor([-2.7568, -2.7568])
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.mean = nn.Parameter(torch.zeros(self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(self.event_shape))

    def _mean_and_log_scale(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.mean.unsqueeze(0), self.log_scale.unsqueeze(0)
