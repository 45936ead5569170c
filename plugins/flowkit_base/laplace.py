"""Defines the Laplace distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, Noise, sum_over_event


class Laplace(Base):
    """Independent Laplace distributions with a learned location μ and scale σ = exp(log_scale) of each value.

    log p(z) = -Σ [|z - μ| / σ + log 2σ], and z = μ - σ sign(v) log(1 - 2 |v|) with v = u - ½ for uniform u. At the
    start μ = 0 and σ = 1.

    Args:
        event_shape: The shape of one latent.

    Examples:
        >>> import torch
        >>> from flowkit_base.laplace import Laplace
        >>> Laplace((1,)).log_prob(torch.zeros(1, 1)).detach()  # -log 2
        tensor([-0.6931])
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.location = nn.Parameter(torch.zeros(self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(self.event_shape))

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("uniform", self.event_shape),)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        distance = (z - self.location).abs() * (-self.log_scale).exp()
        return -sum_over_event(distance + (self.log_scale + math.log(2)))

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        v = noise[0] - 0.5
        return self.location - self.log_scale.exp() * v.sign() * torch.log1p(-2 * v.abs())
