"""Defines the order NAME/order."""

import math
from collections.abc import Sequence

from flowkit.bijectors import Order


class NameOrder(Order):
    """The order 0, stride, 2·stride, …, then 1, 1 + stride, …, and so on."""

    def __init__(self, event_shape: Sequence[int], stride: int = 2) -> None:
        super().__init__(event_shape)
        self.stride = stride

    def sequence(self) -> Sequence[int]:
        size = math.prod(self.event_shape)
        return sorted(range(size), key=lambda index: (index % self.stride, index))
