"""Defines the exponential function and softplus, which map the reals to the positive numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Bijector, sum_over_event


def positive(x: Tensor) -> Tensor:
    """Return x, where 0 is taken as the smallest normal number, because its logarithm is infinite."""
    return x.clamp(min=torch.finfo(x.dtype).tiny)


class Exp(Bijector):
    """The map y = exp(x);  log|det| = Σ x."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.exp(), sum_over_event(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = positive(y).log()
        return x, -sum_over_event(x)


class Softplus(Bijector):
    """The map y = log(1 + exp(x));  log|det| = Σ log inverse_logit(x)."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.logaddexp(x, torch.zeros_like(x)), sum_over_event(F.logsigmoid(x))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = positive(y)
        rest = (-(-y).expm1()).log()  # log(1 - exp(-y)) = log inverse_logit(x)
        return y + rest, -sum_over_event(rest)
