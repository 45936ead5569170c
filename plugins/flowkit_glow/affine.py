"""Affine and additive transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.flow import Transformer
from flowkit.flow.gradients import reverse_mode_only


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
        if isinstance(self.scale, str):
            return _scale(x, theta, lambda t: F.logsigmoid(t + 2))
        bend = Bend.between(*self.scale)
        return Scaled.apply(x, theta, bend) if reverse_mode_only(x, theta) else _scale(x, theta, bend)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        t, b = theta.unbind(1)
        log_s = F.logsigmoid(t + 2) if isinstance(self.scale, str) else Bend.between(*self.scale)(t)
        return (y - b) * (-log_s).exp(), -log_s


class Bend(NamedTuple):
    """middle + half tanh(slope t + start), with value 0 and slope 1 at t = 0."""

    middle: float
    half: float
    slope: float
    start: float

    @classmethod
    def between(cls, lo: float, hi: float) -> Bend:
        """From log lo to log hi."""
        middle, half = math.log(hi * lo) / 2, math.log(hi / lo) / 2
        tanh_start = -middle / half
        return cls(middle, half, 1 / (half * (1 - tanh_start**2)), math.atanh(tanh_start))

    def __call__(self, t: Tensor) -> Tensor:
        u = self.slope * t
        if self.middle == 0:  # the usual, symmetric bounds
            return self.half * torch.tanh(u)
        return self.middle + self.half * torch.tanh(u + self.start)

    def gradient(self, log_s: Tensor, grad: Tensor) -> Tensor:
        """The gradient of t, of that of log s: slope (half - (log s - middle)² / half) times it."""
        r = log_s - self.middle if self.middle else log_s
        scaled = grad if self.middle == 0 else self.slope * self.half * grad
        return torch.addcmul(scaled, scaled * r, r, value=-1 / self.half**2)


def _scale(x: Tensor, theta: Tensor, log_scale: Bend | Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    t, b = theta.unbind(1)
    log_s = log_scale(t)
    return torch.addcmul(b, log_s.exp(), x), log_s


class Scaled(torch.autograd.Function):
    """s(t) x + b and log s(t), with the gradients by hand: half the operators, and x and log s are all that is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor, bend: Bend) -> tuple[Tensor, Tensor]:
        y, log_s = _scale(x, theta, bend)
        ctx.save_for_backward(x, log_s)
        ctx.bend = bend
        return y, log_s

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_log_s: Tensor) -> tuple[Tensor, Tensor, None]:
        x, log_s = ctx.saved_tensors
        grad_x = grad_y * log_s.exp()
        grad_t = ctx.bend.gradient(log_s, torch.addcmul(grad_log_s, grad_x, x))
        # Not by stack: like that it lies in memory as x does, in the order that convolutions want.
        grad_theta = torch.cat([grad_t, grad_y], 1).unflatten(1, (2, -1))
        return grad_x, grad_theta, None


class Additive(Transformer):
    """y = x + b, θ = (b);  log|∂y/∂x| = 0  (Dinh et al. 2015, "NICE", §3.2)."""

    n_params = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + theta[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return y - theta[:, 0], torch.zeros_like(y)
