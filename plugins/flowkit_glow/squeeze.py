"""Space to channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flowkit.flow import Bijector
from flowkit.plugin import Shape
from flowkit_glow.plugin import SqueezeConfig


class Squeeze(Bijector):
    """[c, h, w] -> [c·f², h/f, w/f], a reordering of the values: log|det| = 0  (Dinh et al. 2017, §3.6)."""

    def __init__(self, event_shape: Sequence[int], factor: int = 2) -> None:
        super().__init__(event_shape)
        self.factor = factor

    @property
    def output_shape(self) -> Shape:
        return SqueezeConfig(factor=self.factor).output_shape(self.event_shape)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        blocks = x.unflatten(3, (-1, self.factor)).unflatten(2, (-1, self.factor))  # [batch, c, h/f, f, w/f, f]
        rows = blocks.permute(0, 2, 4, 1, 3, 5).flatten(3)  # [batch, h/f, w/f, c·f²], which is channels_last
        return rows.permute(0, 3, 1, 2), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        c = self.event_shape[0]
        blocks = y.unflatten(1, (c, self.factor, self.factor))  # [batch, c, f, f, h/f, w/f]
        rows = blocks.permute(0, 4, 2, 5, 3, 1).flatten(3, 4).flatten(1, 2)  # [batch, h, w, c]
        return rows.permute(0, 3, 1, 2), y.new_zeros(y.shape[0])
