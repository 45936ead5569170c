"""Defines the invertible 1×1 convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import AffineMap, ChannelLinear


class Conv1x1(ChannelLinear):
    """The map y = W x at each position;  log|det| = h·w·log|det W|.

    A vector [d] counts as one position with d channels, so that this is also the dense linear layer of vectors. Its
    log-det is log|det W| then. W starts as a random orthogonal matrix.

    Args:
        event_shape: [d], or [channels, height, width].
        parametrization: ``"lu"`` for W = P L (U + diag(s)), which can't become singular (see ``LU``), or ``"plain"``
            for a matrix whose entries are the parameters.

    References:
        Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", §3.2.

    Examples:
        >>> import torch
        >>> from flowkit_glow.conv1x1 import Conv1x1
        >>> layer = Conv1x1((3, 2, 2))
        >>> x = torch.randn(5, 3, 2, 2)
        >>> y, log_det = layer.forward_and_log_det(x)
        >>> torch.allclose(y.norm(dim=1), x.norm(dim=1), atol=1e-5), log_det.abs().max().item() < 1e-4  # a rotation
        (True, True)
    """

    def __init__(self, event_shape: Sequence[int], parametrization: str = "lu") -> None:
        super().__init__(event_shape)
        self.parametrization = parametrization
        weight = torch.linalg.qr(torch.randn(self.event_shape[0], self.event_shape[0])).Q  # a random rotation
        self.matrix = LU(weight) if parametrization == "lu" else Plain(weight)

    def affine(self) -> AffineMap:
        matrix = self.matrix
        return AffineMap(matrix(), None, matrix.log_abs_det())

    def affine_inverse(self) -> AffineMap:
        matrix = self.matrix
        return AffineMap(matrix.inverse(), None, -matrix.log_abs_det())


class Plain(nn.Module):
    """A matrix W whose entries are the parameters. Nothing prevents it from becoming singular during training."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self) -> Tensor:
        """Return W [c, c]."""
        return self.weight

    def inverse(self) -> Tensor:
        """Return W⁻¹ [c, c]."""
        return torch.linalg.inv_ex(self.weight).inverse

    def log_abs_det(self) -> Tensor:
        """Return log|det W|, a scalar.

        It is computed for one matrix at a time, because torch's batched LU is silently wrong for large matrices (issue
        142815).
        """
        return torch.linalg.slogdet(self.weight).logabsdet


class LU(nn.Module):
    """The matrix W = P L (U + diag(s)), with P a fixed permutation, L unit lower and U strictly upper triangular.

    sign(s) is fixed and log|s| is learned, so that s can't become 0 and W can't become singular. log|det W| = Σ
    log|s_i|  (Kingma & Dhariwal 2018, eq. 10).
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(weight)
        s = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", s.sign())
        self.log_abs_s = nn.Parameter(s.abs().log())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))

    def forward(self) -> Tensor:
        """Return W [c, c]."""
        upper = self._upper()
        return self.permutation @ torch.addmm(upper, self.lower.tril(-1), upper)  # L U = U + (L - I) U

    def inverse(self) -> Tensor:
        """Return W⁻¹ = (U + diag(s))⁻¹ L⁻¹ Pᵀ [c, c]."""
        # The solver reads only the part of L below the diagonal.
        transposed = self.permutation.transpose(0, 1)  # with .mT of a buffer torch can't compile single steps
        inverse = torch.linalg.solve_triangular(self.lower, transposed, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self._upper(), inverse, upper=True)

    def log_abs_det(self) -> Tensor:
        """Return log|det W| = Σ log|s_i|, a scalar."""
        return self.log_abs_s.sum()

    def _upper(self) -> Tensor:
        """Return U + diag(s)."""
        return torch.diagonal_scatter(self.upper.triu(1), self.sign * self.log_abs_s.exp())
