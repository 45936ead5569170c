"""Defines the logit and the sigmoid, which map an interval to the reals and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Bijector, clamp_rounding, sum_over_event


def logit(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return y = log(u / (1 - u)) with u = (x - low) / (high - low), and log|∂y/∂x|, elementwise.

    At both ends of the interval y would be infinite. There u is taken as ε/2 or 1 - ε/2, where ε is that of the
    precision; values between are taken as they are. Outside of the interval the log-derivative is -∞, so that the
    density is 0.
    """
    share, limits = (x - low) / (high - low), torch.finfo(x.dtype)
    u = F.threshold(share, 0, limits.eps / 2).clamp(limits.tiny, 1 - limits.eps / 2)
    log_u, log_rest = u.log(), (-u).log1p()
    outside = x != x.clamp(low, high)  # faster than two comparisons
    return log_u - log_rest, (-math.log(high - low) - log_u - log_rest).masked_fill_(outside, -math.inf)


def inverse_logit(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return y = low + (high - low) / (1 + exp(-x)), the inverse of ``logit``, and log|∂y/∂x|, elementwise."""
    log_derivative = math.log(high - low) - x + 2 * F.logsigmoid(x)  # log sigmoid(-x) = log sigmoid(x) - x
    return clamp_rounding(low + (high - low) * x.sigmoid(), low, high), log_derivative


class Logit(Bijector):
    """The map y = log(u / (1 - u)) with u = (x - low) / (high - low), from an interval to the reals.

    log|det| = -Σ (log u + log(1 - u) + log(high - low)).

    Args:
        event_shape: The shape of one event.
        low: The lower end of the interval.
        high: The upper end.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP", §4.1, without their α.

    Examples:
        >>> import torch
        >>> from flowkit_map.interval import Logit
        >>> y, log_det = Logit((1,)).forward_and_log_det(torch.tensor([[0.5]]))
        >>> y, log_det  # log 4
        (tensor([[0.]]), tensor([1.3863]))
    """

    def __init__(self, event_shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(event_shape)
        self.low, self.high = low, high

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_derivative = logit(x, self.low, self.high)
        return y, sum_over_event(log_derivative)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_derivative = inverse_logit(y, self.low, self.high)
        return x, sum_over_event(log_derivative)


class Sigmoid(Bijector):
    """The map y = low + (high - low) / (1 + exp(-x)), from the reals to an interval: the inverse of ``Logit``.

    log|det| = Σ (log sigmoid(x) + log sigmoid(-x) + log(high - low)).

    Args:
        event_shape: The shape of one event.
        low: The lower end of the interval.
        high: The upper end.
    """

    def __init__(self, event_shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(event_shape)
        self.low, self.high = low, high

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_derivative = inverse_logit(x, self.low, self.high)
        return y, sum_over_event(log_derivative)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_derivative = logit(y, self.low, self.high)
        return x, sum_over_event(log_derivative)
