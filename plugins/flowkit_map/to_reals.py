"""Defines the map of coordinates to the reals, each by its domain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Bijector, sum_over_event
from flowkit.plugin import Domain, Domains
from flowkit_map.half_line import logarithm
from flowkit_map.interval import inverse_logit, logit


class ToReals(Bijector):
    """The map of each coordinate from its domain to the reals: y = logit(x), log(x - low), -log(high - x) or x.

    log|det| is the sum over the coordinates.

    Args:
        event_shape: The shape of one event.
        bounds: The domain of all coordinates, or a tuple with one for each coordinate of a vector.

    Examples:
        >>> import torch
        >>> from flowkit.plugin import POSITIVE, REALS
        >>> from flowkit_map.to_reals import ToReals
        >>> y, log_det = ToReals((2,), (POSITIVE, REALS)).forward_and_log_det(torch.tensor([[1.0, 5.0]]))
        >>> y  # log 1, and 5 as it is
        tensor([[0., 5.]])
    """

    def __init__(self, event_shape: Sequence[int], bounds: Domains) -> None:
        super().__init__(event_shape)
        self.bounds = bounds

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._each(_to_reals, x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._each(_from_reals, y)

    def _each(self, function: Callable[[Tensor, Domain], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(self.bounds, tuple):
            y, log_derivative = function(x, self.bounds)
            return y, sum_over_event(log_derivative)
        columns = [function(x[:, i], domain) for i, domain in enumerate(self.bounds)]
        y, log_derivative = (torch.stack(parts, 1) for parts in zip(*columns, strict=True))
        return y, sum_over_event(log_derivative)


def _to_reals(x: Tensor, domain: Domain) -> tuple[Tensor, Tensor]:
    match math.isfinite(domain.low), math.isfinite(domain.high):
        case True, True:
            return logit(x, domain.low, domain.high)
        case True, False:
            return logarithm(x - domain.low)
        case False, True:
            y, log_derivative = logarithm(domain.high - x)
            return -y, log_derivative
    return x, torch.zeros_like(x)


def _from_reals(y: Tensor, domain: Domain) -> tuple[Tensor, Tensor]:
    match math.isfinite(domain.low), math.isfinite(domain.high):
        case True, True:
            return inverse_logit(y, domain.low, domain.high)
        case True, False:
            return domain.low + y.exp(), y
        case False, True:
            return domain.high - (-y).exp(), -y
    return y, torch.zeros_like(y)
