"""Defines the normal distribution with a full covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, log_normal


class FullNormal(Base):
    """The normal distribution z = μ + L ε with a learned mean μ and Cholesky factor L of the covariance L Lᵀ.

    log p(z) = log N(L⁻¹ (z - μ); 0, I) - Σ log L_ii. L [D, D] is lower triangular for events of D values, flattened.
    Its diagonal is exp(log_diagonal) > 0, and what lies below is ``lower``. At the start μ = 0 and L = I.

    Args:
        event_shape: The shape of one latent.

    Examples:
        >>> import torch
        >>> from flowkit_base.full_normal import FullNormal
        >>> FullNormal((2,)).log_prob(torch.zeros(1, 2)).detach()  # -log 2π
        tensor([-1.8379])
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        size = math.prod(self.event_shape)
        self.mean = nn.Parameter(torch.zeros(self.event_shape))
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.lower = nn.Parameter(torch.zeros(size, size))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        eps = torch.linalg.solve_triangular(self.factor(), (z - self.mean).flatten(1).mT, upper=False).mT
        return log_normal(eps) - self.log_diagonal.sum()

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return _moved(noise[0], self.factor(), self.mean)

    def factor(self) -> Tensor:
        """Return L."""
        return self.lower.tril(-1) + torch.diag(self.log_diagonal.exp())

    def freeze(self) -> FrozenFullNormal:
        return FrozenFullNormal(self)


class FrozenFullNormal(Base):
    """The same distribution with constant L and L⁻¹. ONNX has no operator for a triangular system."""

    def __init__(self, base: FullNormal) -> None:
        super().__init__(base.event_shape)
        factor = base.factor().detach()
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        self.register_buffer("mean", base.mean.detach())
        self.register_buffer("factor", factor)
        self.register_buffer("inverse", torch.linalg.solve_triangular(factor, identity, upper=False))
        self.register_buffer("log_det", base.log_diagonal.detach().sum())

    mean: Tensor
    factor: Tensor
    inverse: Tensor
    log_det: Tensor

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return log_normal((z - self.mean).flatten(1) @ self.inverse.mT) - self.log_det

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return _moved(noise[0], self.factor, self.mean)


def _moved(eps: Tensor, factor: Tensor, mean: Tensor) -> Tensor:
    """Return μ + L ε for normal noise [batch, *event]."""
    return mean + (eps.flatten(1) @ factor.mT).unflatten(1, eps.shape[1:])
