"""Defines the planar flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Bijector


class Planar(Bijector):
    """The map y = x + û tanh(w·x + b), which changes x along û only  (Rezende & Mohamed 2015, eq. 10-12).

    log|det| = log(1 + tanh'(w·x + b) w·û). It is invertible if w·û > -1. So û is the parameter u, moved along w until
    w·û = softplus(w·u) - 1 (their appendix A.1). The inverse has no formula, and the layer has none.

    w and u are [*event], b is a single number, and · is the sum over all values of an event.

    Example:
        >>> y, log_det = Planar((2,)).forward_and_log_det(torch.zeros(3, 2))
        >>> log_det.shape
        torch.Size([3])
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        bound = 1 / math.sqrt(math.prod(self.event_shape))
        self.w = nn.Parameter(torch.empty(self.event_shape).uniform_(-bound, bound))
        self.u = nn.Parameter(torch.empty(self.event_shape).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(()))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u = self.w.flatten(), self.u.flatten()
        w_u = w @ u
        w_shift = F.softplus(w_u) - 1  # w·û
        shift = u + (w_shift - w_u) * w / (w @ w)  # û
        bend = torch.tanh(x.flatten(1) @ w + self.b)  # [batch]
        y = x + bend.unflatten(0, (-1, *(1 for _ in self.event_shape))) * shift.view(self.event_shape)
        return y, ((1 - bend.square()) * w_shift).log1p()
