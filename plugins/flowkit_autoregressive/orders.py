"""Defines orders of the values of an event."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from flowkit.bijectors import Order


class Natural(Order):
    """The order 0, 1, … D - 1.

    Examples:
        >>> from flowkit_autoregressive.orders import Natural
        >>> list(Natural((3,)).sequence())
        [0, 1, 2]
    """

    def sequence(self) -> Sequence[int]:
        return range(math.prod(self.event_shape))


class Reversed(Order):
    """The order D - 1, … 1, 0."""

    def sequence(self) -> Sequence[int]:
        return range(math.prod(self.event_shape))[::-1]


class Random(Order):
    """A permutation drawn from ``seed``.

    It sorts the values by the numbers of ``random.Random(seed)``. Python keeps this sequence of numbers from version to
    version, so that a saved model finds its order again.

    Args:
        event_shape: The shape of one event, without the batch.
        seed: The seed of the generator.
    """

    def __init__(self, event_shape: Sequence[int], seed: int = 0) -> None:
        super().__init__(event_shape)
        self.seed = seed

    def sequence(self) -> Sequence[int]:
        generator = random.Random(self.seed)
        return sorted(range(math.prod(self.event_shape)), key=lambda _: generator.random())


class Listed(Order):
    """The order that ``indices`` lists.

    Args:
        event_shape: The shape of one event, without the batch.
        indices: The indices 0 … D - 1 of the flattened event's values, from the first to the last.

    Examples:
        >>> from flowkit_autoregressive.orders import Listed
        >>> Listed((3,), [2, 0, 1]).ranks()  # value 0 is the second
        tensor([1, 2, 0])
    """

    def __init__(self, event_shape: Sequence[int], indices: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.indices = list(indices)

    def sequence(self) -> Sequence[int]:
        return self.indices
