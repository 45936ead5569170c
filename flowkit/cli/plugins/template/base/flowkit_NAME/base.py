"""Defines the base distribution NAME/base."""

import math
from collections.abc import Sequence

import torch
from flowkit.bijectors import Base, StandardNormal
from torch import Tensor


class NameBase(Base):
    """The distribution of z = sinh(t asinh(ε)) for ε ~ N(0, I).

    log p(z) = log N(ε) - Σ [log t + ½ log(1 + z²) - ½ log(1 + ε²)], because sinh(u) has the derivative
    cosh(u) = √(1 + sinh²(u)).

    References:
        Jones & Pewsey 2009, "Sinh-arcsinh distributions".
    """

    def __init__(self, event_shape: Sequence[int], tail: float = 1.5) -> None:
        super().__init__(event_shape)
        self.tail = tail
        self.normal = StandardNormal(event_shape)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        eps = torch.sinh(torch.asinh(z) / self.tail)
        each = math.log(self.tail) + (torch.log1p(z.square()) - torch.log1p(eps.square())) / 2  # [batch, *event]
        return self.normal.log_prob(eps) - each.flatten(1).sum(1)  # [batch]

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (eps,) = noise  # one standard normal number for each value; see Base.noise for others
        return torch.sinh(self.tail * torch.asinh(eps))
