"""Defines layers that reorder the values along one axis of an event: the flip and the roll."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Bijector
from flowkit_glow.plugin import FlipConfig, RollConfig

DIMENSIONS = {"width": -1, "height": -2}


class Flip(Bijector):
    """The reversed order y_i = x_{n-1-i} of the n values along an axis;  log|det| = 0.

    Args:
        event_shape: [d], or [channels, height, width].
        axis: ``"width"``, the last axis, which is the only one of a vector, or ``"height"``.

    Raises:
        ShapeError: If the axis is the height, and the events are no images.

    Examples:
        >>> import torch
        >>> from flowkit_glow.reordering import Flip
        >>> y, log_det = Flip((3,)).forward_and_log_det(torch.tensor([[1.0, 2.0, 3.0]]))
        >>> y, log_det
        (tensor([[3., 2., 1.]]), tensor([0.]))
    """

    def __init__(self, event_shape: Sequence[int], axis: str = "width") -> None:
        super().__init__(event_shape)
        FlipConfig(axis=axis).output_shape(self.event_shape)
        self.axis = axis

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flip(DIMENSIONS[self.axis]), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.flip(DIMENSIONS[self.axis]), y.new_zeros(y.shape[0])


class Roll(Bijector):
    """The cyclic shift y_{(i + shift) mod n} = x_i of the n values along an axis;  log|det| = 0.

    Args:
        event_shape: [d], or [channels, height, width].
        axis: ``"width"``, the last axis, which is the only one of a vector, or ``"height"``.
        shift: The number of places by which the values move towards the end. It may be negative.

    Raises:
        ShapeError: If the axis is the height, and the events are no images.

    Examples:
        >>> import torch
        >>> from flowkit_glow.reordering import Roll
        >>> y, log_det = Roll((3,)).forward_and_log_det(torch.tensor([[1.0, 2.0, 3.0]]))
        >>> y, log_det
        (tensor([[3., 1., 2.]]), tensor([0.]))
    """

    def __init__(self, event_shape: Sequence[int], axis: str = "width", shift: int = 1) -> None:
        super().__init__(event_shape)
        RollConfig(axis=axis, shift=shift).output_shape(self.event_shape)
        self.axis, self.shift = axis, shift

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._rolled(x, self.shift), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._rolled(y, -self.shift), y.new_zeros(y.shape[0])

    def _rolled(self, x: Tensor, shift: int) -> Tensor:
        dimension = DIMENSIONS[self.axis]
        return torch.roll(x, shift % self.event_shape[dimension], dimension)
