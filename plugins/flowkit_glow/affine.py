"""Defines the affine and the additive transformer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Transformer, bounded_log_scale


class Affine(Transformer):
    """The map y = s(t) x + b with θ = (t, b);  log|∂y/∂x| = log s(t).

    With bounds [lo, hi], lo < 1 < hi, log s is a scaled and shifted tanh of t between log lo and log hi. It is 0 with
    slope 1 at t = 0. For lo = 1/hi it is L tanh(t / L) with L = log hi.

    Args:
        scale: The bounds (lo, hi) of s, or ``"sigmoid"`` for s = sigmoid(t + 2), as in Glow's published code. That s
            has no positive lower bound, and a trained model then inverts with errors of 1e-3 and more.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP", eq. 4-5, with other bounds.

    Examples:
        >>> import torch
        >>> from flowkit_glow.affine import Affine
        >>> theta = torch.tensor([[[0.0], [3.0]]])  # t = 0 and b = 3 of one value
        >>> y, log_derivative = Affine()(torch.ones(1, 1), theta)
        >>> y.tolist(), log_derivative.tolist()
        ([[4.0]], [[0.0]])
    """

    n_params = 2

    def __init__(self, scale: tuple[float, float] | str = (0.25, 4.0)) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        t, b = _halves(theta)
        log_s = self._log_scale(t)
        return (log_s.exp() * x).add_(b), log_s  # the gradient of addcmul would take two more operators

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        t, b = _halves(theta)
        log_derivative = -self._log_scale(t)
        return (y - b) * log_derivative.exp(), log_derivative

    def _log_scale(self, t: Tensor) -> Tensor:
        if isinstance(self.scale, str):
            return F.logsigmoid(t + 2)
        return bounded_log_scale(t, *self.scale)


def _halves(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Divide θ [batch, 2, c, …] into two tensors [batch, c, …].

    `chunk` is used because its gradient, a `cat`, keeps the channels_last memory format. The gradient of `unbind` is a
    `stack`, which doesn't.
    """
    t, b = theta.flatten(1, 2).chunk(2, 1)
    return t, b


class Additive(Transformer):
    """The map y = x + b with θ = (b);  log|∂y/∂x| = 0.

    References:
        Dinh et al. 2015, "NICE: Non-linear Independent Components Estimation", §3.2.
    """

    n_params = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + theta[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return y - theta[:, 0], torch.zeros_like(y)
