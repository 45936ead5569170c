"""Defines the sinh-arcsinh map, which changes the skewness and the tails of a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Bijector, sum_over_event

MAX_LOG_TAIL = math.log(4)
"""δ lies between 1/4 and 4."""


class SinhArcsinh(Bijector):
    """The map y = sinh(δ arsinh(x) + ε), with δ > 0 and ε learned for each coordinate.

    log|∂y/∂x| = log δ + log cosh(δ arsinh(x) + ε) - ½ log(1 + x²). The map is the identity at the start. δ is bounded:
    log δ = L tanh(t / L) with L = log 4.

    Args:
        event_shape: The shape of one event.

    References:
        Jones & Pewsey 2009, "Sinh-arcsinh distributions".

    Examples:
        >>> import torch
        >>> from flowkit_map.sinh_arcsinh import SinhArcsinh
        >>> y, log_det = SinhArcsinh((1,)).forward_and_log_det(torch.tensor([[2.0]]))
        >>> y.detach().round(decimals=4)
        tensor([[2.]])
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.t = nn.Parameter(torch.zeros(self.event_shape))
        self.skewness = nn.Parameter(torch.zeros(self.event_shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inner = self._log_tail().exp() * x.asinh() + self.skewness
        log_derivative = self._log_tail() + _log_cosh(inner) - _log_cosh(x.asinh())
        return inner.sinh(), sum_over_event(log_derivative)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inner = (y.asinh() - self.skewness) * (-self._log_tail()).exp()
        log_derivative = -self._log_tail() + _log_cosh(inner) - _log_cosh(y.asinh())
        return inner.sinh(), sum_over_event(log_derivative)

    def _log_tail(self) -> Tensor:
        return MAX_LOG_TAIL * torch.tanh(self.t / MAX_LOG_TAIL)


def _log_cosh(x: Tensor) -> Tensor:
    """Return log cosh x, which is ½ log(1 + sinh² x), without overflow."""
    return torch.logaddexp(x, -x) - math.log(2)
