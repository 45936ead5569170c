"""Defines the normal distribution with a diagonal covariance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, log_normal, sum_over_event


class DiagonalNormal(Base):
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

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return diagonal_log_prob(z, self.mean, self.log_scale.unsqueeze(0))

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (eps,) = noise
        return self.mean + self.log_scale.exp() * eps


def diagonal_log_prob(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return log N(z; μ, σ²) [batch] of events z [batch, *event], with log σ for each value, [batch or 1, *event]."""
    return log_normal((z - mean) * (-log_scale).exp()) - sum_over_event(log_scale)
