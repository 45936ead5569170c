"""Defines the normal distribution with a full covariance."""

from __future__ import annotations

import copy
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

    constant_inverse: Tensor | None
    """L⁻¹, of a frozen distribution."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        size = math.prod(self.event_shape)
        self.mean = nn.Parameter(torch.zeros(self.event_shape))
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.lower = nn.Parameter(torch.zeros(size, size))
        self.register_buffer("constant_inverse", None, persistent=False)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        centred = (z - self.mean).flatten(1)
        if self.constant_inverse is None:
            eps = torch.linalg.solve_triangular(self.factor(), centred.mT, upper=False).mT
        else:
            eps = centred @ self.constant_inverse.mT
        return log_normal(eps) - self.log_diagonal.sum()

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return self.mean + (noise[0].flatten(1) @ self.factor().mT).unflatten(1, self.event_shape)

    def factor(self) -> Tensor:
        """Return L."""
        return self.lower.tril(-1) + torch.diag(self.log_diagonal.exp())

    def freeze(self) -> FullNormal:
        frozen, factor = copy.deepcopy(self), self.factor().detach()
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        frozen.constant_inverse = torch.linalg.solve_triangular(factor, identity, upper=False)  # which ONNX lacks
        return frozen
