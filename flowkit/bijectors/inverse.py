"""Defines Inverse, which runs a bijector in the opposite direction."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from flowkit.bijectors.bijector import Bijector
from flowkit.bijectors.composition import autocast_of
from flowkit.directions import Shared, swapped
from flowkit.shapes import Shape


class Inverse(Bijector):
    """The map y = f⁻¹(x) of a bijector f. Its log-det is that of f's inverse.

    Data-dependent initialization isn't passed on, because it would normalize f(x) and not f⁻¹(x).

    Args:
        bijector: The bijector f. The event shape of the inverse is the output shape of f.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import Inverse
        >>> from flowkit_map.interval import Logit
        >>> y, _ = Inverse(Logit((1,))).forward_and_log_det(torch.zeros(2, 1))  # a sigmoid
        >>> y
        tensor([[0.5000],
                [0.5000]])
    """

    handles_autocast: ClassVar[bool] = True

    def __init__(self, bijector: Bijector) -> None:
        super().__init__(bijector.output_shape)
        self.bijector = bijector

    @property
    def output_shape(self) -> Shape:
        return self.bijector.event_shape

    @property
    def directions(self) -> Shared:
        return swapped(self.bijector.directions)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with autocast_of(self.bijector, x.device):
            return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with autocast_of(self.bijector, y.device):
            return self.bijector.forward_and_log_det(y, context)

    def freeze(self) -> Bijector:
        return Inverse(self.bijector.freeze())
