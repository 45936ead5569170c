"""Registers MADE and the orders: their configs and shape rules. This module doesn't import torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from flowkit.plugin import Descriptor, MaskedConditionerConfig, OrderConfig, Shape, ShapeError, hookimpl

MAX_HIDDEN = 2**16


class MADEConfig(MaskedConditionerConfig):
    """A masked multi-layer perceptron for events of any shape. Its last layer is zero at the start."""

    hidden: Annotated[int, Field(ge=1, le=MAX_HIDDEN)] = 128
    """The number of units of each hidden layer."""
    layers: Annotated[int, Field(ge=1, le=32)] = 2
    """The number of hidden layers, or of residual blocks behind a first hidden layer."""
    residual: bool = False
    """true: blocks of two linear layers, each behind an activation, whose output is added to their input."""
    activation: Literal["relu", "elu", "tanh"] = "relu"
    """The activation function."""


class NaturalConfig(OrderConfig):
    """The order of the values in the event: the first to the last; images row by row, channel by channel."""


class ReversedConfig(OrderConfig):
    """The last value of the event to the first."""


class RandomConfig(OrderConfig):
    """A permutation that is drawn from a seed."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The seed. Layers with the same seed have the same order."""


class ListedConfig(OrderConfig):
    """A permutation that is listed."""

    indices: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """The indices of the flattened event's values, 0 … D - 1: the value that comes first, and so on."""

    def check_shape(self, event: Shape) -> None:
        size = math.prod(event)
        if sorted(self.indices) != list(range(size)):
            raise ShapeError(f"indices must list each of 0 … {size - 1} once, for the {size} values of an event")


@hookimpl
def flowkit_register_masked_conditioners() -> list[Descriptor]:
    return [Descriptor("made", MADEConfig, "flowkit_autoregressive.made:MADE")]


@hookimpl
def flowkit_register_orders() -> list[Descriptor]:
    return [
        Descriptor("natural", NaturalConfig, "flowkit_autoregressive.orders:Natural"),
        Descriptor("reversed", ReversedConfig, "flowkit_autoregressive.orders:Reversed"),
        Descriptor("random", RandomConfig, "flowkit_autoregressive.orders:Random"),
        Descriptor("listed", ListedConfig, "flowkit_autoregressive.orders:Listed"),
    ]
