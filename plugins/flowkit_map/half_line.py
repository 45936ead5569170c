"""Defines the exponential function and softplus, which map the reals to the positive numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Bijector, sum_over_event


def logarithm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return y = log x and log|∂y/∂x|, elementwise.

    0 is taken as the smallest normal number. Below 0 the log-derivative is -∞, so that the density is 0.
    """
    y = x.clamp(min=torch.finfo(x.dtype).tiny).log()
    return y, (-y).masked_fill_(x < 0, -math.inf)


class Exp(Bijector):
    """The map y = exp(x), from the reals to the positive numbers;  log|det| = Σ x."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.exp(), sum_over_event(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_derivative = logarithm(y)
        return x, sum_over_event(log_derivative)


class Softplus(Bijector):
    """The map y = log(1 + exp(x)), from the reals to the positive numbers;  log|det| = Σ log sigmoid(x)."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.logaddexp(x, torch.zeros_like(x)), sum_over_event(F.logsigmoid(x))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rest, log_derivative = logarithm(-(-y).expm1())  # log(1 - exp(-y)) = log sigmoid(x)
        return y + rest, sum_over_event(log_derivative)
