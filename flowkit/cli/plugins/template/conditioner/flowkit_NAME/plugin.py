"""What a spec may say of the conditioner in this package. Imports no torch."""

from flowkit.plugin import ConditionerConfig, Descriptor, Shape, ShapeError, hookimpl
from pydantic import PositiveInt


class NameConditionerConfig(ConditionerConfig):
    """A network for vectors with one hidden layer of sines."""

    hidden: PositiveInt = 64
    """Units of the hidden layer."""

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        if len(kept) != 1:
            raise ShapeError("NAME/conditioner reads vectors: use glow/convnet for images")


@hookimpl
def flowkit_register_conditioners() -> list[Descriptor]:
    return [
        Descriptor("conditioner", NameConditionerConfig, "flowkit_NAME.conditioner:NameConditioner"),
    ]
