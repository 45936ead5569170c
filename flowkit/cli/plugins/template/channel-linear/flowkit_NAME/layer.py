"""Defines the layer NAME/layer."""

from collections.abc import Sequence

import torch
from flowkit.bijectors import AffineMap, ChannelLinear
from torch import Tensor, nn


class NameLayer(ChannelLinear):
    """The map y = H_k … H_1 x at each position, with H = I - 2 u uᵀ / uᵀu and learned vectors u;  log|det| = 0.

    Each H is its own inverse.

    References:
        Tomczak & Welling 2016, "Improving Variational Auto-Encoders using Householder Flow".
    """

    def __init__(self, event_shape: Sequence[int], reflections: int = 2) -> None:
        super().__init__(event_shape)
        self.reflections = reflections
        self.vectors = nn.Parameter(torch.randn(reflections, self.event_shape[0]))

    def affine(self) -> AffineMap:
        """Return the map. flowkit applies it at each position, and merges it with those of adjacent layers."""
        matrix = torch.eye(self.event_shape[0]).to(self.vectors)
        for u in self.vectors.unbind():
            matrix = _reflect(matrix, u)
        return AffineMap(matrix, None, torch.zeros(()))

    def affine_inverse(self) -> AffineMap:
        affine = self.affine()
        return affine._replace(matrix=affine.matrix.mT)  # reflections are orthogonal


def _reflect(matrix: Tensor, u: Tensor) -> Tensor:
    return matrix - 2 * torch.outer(u, u @ matrix) / (u @ u)  # H matrix
