"""Defines the planar flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Bijector, numeric_inverse
from flowkit.plugin import Directions


class Planar(Bijector):
    """The map y = x + û tanh(w·x + b), which changes x along û only.

    log|det| = log(1 + tanh'(w·x + b) w·û). It is invertible if w·û > -1. So û is the parameter u, moved along w until
    w·û = softplus(w·u) - 1 (appendix A.1 of the paper).

    The inverse has no formula, and by default the layer has none. With ``numeric_inverse`` it solves the equation of
    one number t = w·x + b for each event: t + w·û tanh(t) = w·y + b. As |tanh| < 1, t is at most |w·û| away from the
    right side. Then x = y - û tanh(t).

    w and u are [*event], b is a single number, and · is the sum over all values of an event.

    Args:
        event_shape: The shape of one event.
        numeric_inverse: Find the inverse by bisection, so that the layer runs both ways.

    References:
        Rezende & Mohamed 2015, "Variational Inference with Normalizing Flows", eq. 10-12.

    Examples:
        >>> import torch
        >>> from flowkit_residual.planar import Planar
        >>> y, log_det = Planar((2,)).forward_and_log_det(torch.zeros(3, 2))
        >>> y.shape, log_det.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, event_shape: Sequence[int], numeric_inverse: bool = False) -> None:
        super().__init__(event_shape)
        self.numeric_inverse = numeric_inverse
        bound = 1 / math.sqrt(math.prod(self.event_shape))
        self.w = nn.Parameter(torch.empty(self.event_shape).uniform_(-bound, bound))
        self.u = nn.Parameter(torch.empty(self.event_shape).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(()))

    @property
    def directions(self) -> Directions:
        return "both" if self.numeric_inverse else "forward"

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, slope = self._shift()
        t = x.flatten(1) @ self.w.flatten() + self.b  # [batch]
        return x + self._bend(t, shift), _stretched(t, slope)[1]

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.numeric_inverse:
            return super().inverse_and_log_det(y, context)
        shift, slope = self._shift()
        given, most = y.flatten(1) @ self.w.flatten() + self.b, (slope - 1).abs()
        t, log_det = numeric_inverse(lambda t: _stretched(t, slope), given, given - most, given + most)
        return y - self._bend(t, shift), log_det

    def _shift(self) -> tuple[Tensor, Tensor]:
        """Return û, flat, and 1 + w·û."""
        w, u = self.w.flatten(), self.u.flatten()
        w_u = w @ u
        slope = F.softplus(w_u)
        return u + (slope - 1 - w_u) * w / (w @ w), slope

    def _bend(self, t: Tensor, shift: Tensor) -> Tensor:
        """Return û tanh(t), [batch, *event]."""
        return torch.tanh(t).unflatten(0, (-1, *(1 for _ in self.event_shape))) * shift.view(self.event_shape)


def _stretched(t: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return t + w·û tanh(t), which is w·y + b, and the logarithm of its slope, which is the log-det.

    The slope is 1 + w·û at t = 0, and nears 1 far out. As a mean of the two it loses no digits where w·û is near -1.
    """
    bend = torch.tanh(t)
    return t + (slope - 1) * bend, torch.lerp(slope, torch.ones_like(slope), bend.square()).log()
