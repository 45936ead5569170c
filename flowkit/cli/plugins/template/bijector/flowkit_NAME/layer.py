"""Defines the layer NAME/layer.

If the inverse of your layer has no formula, compute it with flowkit.bijectors.numeric_inverse. Or leave
inverse_and_log_det out, and write directions = "forward" into the config.
"""

import math
from collections.abc import Sequence

import torch
from flowkit.bijectors import Bijector
from torch import Tensor, nn


class NameLayer(Bijector):
    """The map y = s ⊙ x + b, with s = exp(log_scale) > 0 and b for each channel;  log|det| = h·w·Σ log s.

    x and y are [batch, c, h, w], or [batch, d]: d channels at one position.
    """

    def __init__(self, event_shape: Sequence[int], initial_scale: float = 1.0) -> None:
        super().__init__(event_shape)
        self.initial_scale = initial_scale
        channels, *positions = self.event_shape
        shape = [channels] + [1] * len(positions)  # broadcasts over the positions
        self.log_scale = nn.Parameter(torch.full(shape, math.log(initial_scale)))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = x * self.log_scale.exp() + self.shift
        return y, self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = (y - self.shift) * (-self.log_scale).exp()
        return x, -self._log_det(x)

    def _log_det(self, x: Tensor) -> Tensor:
        """Return log|∂y/∂x| of each element of the forward map, summed over channels and positions."""
        each = self.log_scale.expand_as(x)  # [batch, *event]
        return each.flatten(1).sum(1)  # [batch]
