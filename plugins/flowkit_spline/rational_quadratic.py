"""The rational-quadratic spline."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from flowkit.bijectors import Transformer
from flowkit_spline.backward import Backward
from flowkit_spline.evaluation import evaluate


class RationalQuadratic(Transformer):
    """A monotonic rational-quadratic spline on [-B, B] with linear tails (Durkan et al. 2019, §3.1).

    θ holds K widths and K heights, before softmax, and K - 1 derivatives at the inner knots, before softplus; the
    derivatives at ±B are 1, as in the tails. At θ = 0 it is the identity.
    """

    def __init__(self, bins: int = 8, bound: float = 3.0) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.n_params = 3 * bins - 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(x, theta, inverse=False)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(y, theta, inverse=True)

    def _map(self, value: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if _backward_is_enough(value, theta):
            return Backward.apply(value, theta, self.bound, inverse)
        done = evaluate(value, theta, self.bound, inverse)
        return done.output, done.log_derivative


def _backward_is_enough(*tensors: Tensor) -> bool:
    """Whether nothing is asked for but values and gradients: torch.export and torch.func take the formula itself."""
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)) or torch.compiler.is_exporting():
        return False
    return torch.compiler.is_compiling() or all(
        torch.func.debug_unwrap(t) is t and forward_ad.unpack_dual(t).tangent is None for t in tensors
    )
