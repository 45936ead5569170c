"""Registers the masked conditioner of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import Descriptor, MaskedConditionerConfig, Shape, ShapeError, hookimpl
from pydantic import PositiveInt


class NameMaskedConfig(MaskedConditionerConfig):
    """A network for vectors that has hidden units for each value, which read the values before it."""

    hidden: PositiveInt = 16
    """The number of hidden units for each value."""

    def check_shape(self, event: Shape) -> None:
        if len(event) != 1:
            raise ShapeError("NAME/masked reads vectors: use autoregressive/made for images")


@hookimpl
def flowkit_register_masked_conditioners() -> list[Descriptor]:
    return [
        Descriptor("masked", NameMaskedConfig, "flowkit_NAME.masked:NameMasked"),
    ]
