"""Affine and additive transformers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Transformer


class Affine(Transformer):
    """y = s(t) x + b, θ = (t, b);  log|∂y/∂x| = log s(t).

    With bounds [lo, hi], lo < 1 < hi, log s runs along a tanh from log lo to log hi, and is 0 with slope 1 at t = 0;
    for lo = 1/hi it is L tanh(t / L), L = log hi. ``scale="sigmoid"`` is s = sigmoid(t + 2) of Glow's published code:
    it can come arbitrarily near to 0, and a trained model then inverts with errors of 1e-3 and more.
    """

    n_params = 2

    def __init__(self, scale: tuple[float, float] | str = (0.25, 4.0)) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        t, b = _halves(theta)
        log_s = self._log_scale(t)
        return (log_s.exp() * x).add_(b), log_s  # addcmul's gradient takes two operators more

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        t, b = _halves(theta)
        log_derivative = -self._log_scale(t)
        return (y - b) * log_derivative.exp(), log_derivative

    def _log_scale(self, t: Tensor) -> Tensor:
        if isinstance(self.scale, str):
            return F.logsigmoid(t + 2)
        lo, hi = self.scale
        middle, half = math.log(hi * lo) / 2, math.log(hi / lo) / 2
        if middle == 0:  # the usual bounds, 1/hi and hi: two operators less
            return half * torch.tanh(t * (1 / half))
        start = -middle / half  # the tanh where log s = 0
        slope = 1 / (half * (1 - start**2))
        return middle + half * torch.tanh(slope * t + math.atanh(start))


def _halves(theta: Tensor) -> tuple[Tensor, Tensor]:
    """[batch, 2, c, …] -> two [batch, c, …]. unbind would say the same, but its gradient is a stack, which does not
    keep to channels_last, as the cat does that is chunk's."""
    t, b = theta.flatten(1, 2).chunk(2, 1)
    return t, b


class Additive(Transformer):
    """y = x + b, θ = (b);  log|∂y/∂x| = 0  (Dinh et al. 2015, "NICE", §3.2)."""

    n_params = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + theta[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return y - theta[:, 0], torch.zeros_like(y)
