"""Defines the rotation of a circle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Bijector, clamp_rounding
from flowkit.plugin import Circle


class Phase(Bijector):
    """The rotation y = low + (x + φ - low) mod (high - low) of each coordinate's circle;  log|det| = 0.

    φ is learned, one for each coordinate. It starts at 0.

    Args:
        event_shape: The shape of one event.
        bounds: The circle of all coordinates.
    """

    def __init__(self, event_shape: Sequence[int], bounds: Circle) -> None:
        super().__init__(event_shape)
        self.bounds = bounds
        self.phase = nn.Parameter(torch.zeros(self.event_shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._around(x + self.phase), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._around(y - self.phase), y.new_zeros(y.shape[0])

    def _around(self, x: Tensor) -> Tensor:
        """Return the points of the circle that these numbers stand for."""
        low, high = self.bounds.low, self.bounds.high
        turns = torch.floor((x - low) / (high - low)).detach()
        return clamp_rounding(x - turns * (high - low), low, high)
