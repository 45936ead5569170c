"""Defines orthogonal matrices as products of Householder reflections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import AffineMap, ChannelLinear


class Householder(ChannelLinear):
    """The map y = W x at each position, with an orthogonal matrix W;  log|det| = 0.

    W = H_1 H_2 ⋯ H_k is a product of reflections H_i = I - 2 v_i v_iᵀ / ‖v_i‖² with learned vectors v_i. The inverse is
    Wᵀ. The determinant of W is (-1)^k and doesn't change in training. The v_i start as normal random numbers, so W
    starts as a random orthogonal matrix. If v_i is 0, H_i is I.

    Args:
        event_shape: [d], or [channels, height, width].
        reflections: The number k of reflections. None stands for the number of channels, or of values of a vector.

    References:
        Tomczak & Welling 2016, "Improving Variational Auto-Encoders using Householder Flow".

    Examples:
        >>> import torch
        >>> from flowkit_glow.householder import Householder
        >>> x = torch.randn(5, 4)
        >>> y, log_det = Householder((4,)).forward_and_log_det(x)
        >>> torch.allclose(y.norm(dim=1), x.norm(dim=1)), log_det.abs().max().item()
        (True, 0.0)
    """

    def __init__(self, event_shape: Sequence[int], reflections: int | None = None) -> None:
        super().__init__(event_shape)
        self.reflections = reflections
        c = self.event_shape[0]
        self.v = nn.Parameter(torch.randn(reflections or c, c))

    def affine(self) -> AffineMap:
        weight = self._product()
        return AffineMap(weight, None, weight.new_zeros(()))

    def affine_inverse(self) -> AffineMap:
        affine = self.affine()
        return affine._replace(matrix=affine.matrix.mT)

    def _product(self) -> Tensor:
        """Return W [c, c].

        With the vectors √2 v_i / ‖v_i‖ as the rows of R, W = I - Rᵀ M⁻¹ R, where M is upper triangular: 1 on its
        diagonal, and R Rᵀ above it (Joffrain et al. 2006). This takes one solve, not k steps.
        """
        rows = math.sqrt(2) * F.normalize(self.v, dim=1)
        # The solver reads only the part of R Rᵀ above the diagonal.
        solved = torch.linalg.solve_triangular(rows @ rows.transpose(0, 1), rows, upper=True, unitriangular=True)
        identity = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        return torch.addmm(identity, rows.transpose(0, 1), solved, alpha=-1)
