"""Registers the order of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import Descriptor, OrderConfig, hookimpl
from pydantic import PositiveInt


class NameOrderConfig(OrderConfig):
    """Takes every few values first, and then the values that were left out."""

    stride: PositiveInt = 2
    """The distance from one value to the next."""


@hookimpl
def flowkit_register_orders() -> list[Descriptor]:
    return [
        Descriptor("order", NameOrderConfig, "flowkit_NAME.order:NameOrder"),
    ]
