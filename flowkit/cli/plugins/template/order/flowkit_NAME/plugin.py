"""What a spec may say of the order in this package. Imports no torch."""

from flowkit.plugin import Descriptor, OrderConfig, hookimpl
from pydantic import PositiveInt


class NameOrderConfig(OrderConfig):
    """Every few values first, then those that were left out."""

    stride: PositiveInt = 2
    """How many values it goes on by."""


@hookimpl
def flowkit_register_orders() -> list[Descriptor]:
    return [
        Descriptor("order", NameOrderConfig, "flowkit_NAME.order:NameOrder"),
    ]
