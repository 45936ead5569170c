"""What a spec may say of the masked conditioner in this package. Imports no torch."""

from flowkit.plugin import Descriptor, MaskedConditionerConfig, Shape, ShapeError, hookimpl
from pydantic import PositiveInt


class NameMaskedConfig(MaskedConditionerConfig):
    """A network for vectors that has hidden units for each value, which read the values before it."""

    hidden: PositiveInt = 16
    """Hidden units for each value."""

    def check_shape(self, event: Shape) -> None:
        if len(event) != 1:
            raise ShapeError("NAME/masked reads vectors: use autoregressive/made for images")


@hookimpl
def flowkit_register_masked_conditioners() -> list[Descriptor]:
    return [
        Descriptor("masked", NameMaskedConfig, "flowkit_NAME.masked:NameMasked"),
    ]
