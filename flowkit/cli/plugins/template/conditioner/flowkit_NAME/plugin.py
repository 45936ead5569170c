"""Registers the conditioner of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import ConditionerConfig, Descriptor, Shape, ShapeError, hookimpl
from pydantic import PositiveInt


class NameConditionerConfig(ConditionerConfig):
    """A network for vectors with one hidden layer of sines."""

    hidden: PositiveInt = 64
    """The number of units of the hidden layer."""

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        if len(kept) != 1:
            raise ShapeError("NAME/conditioner reads vectors: use glow/convnet for images")


@hookimpl
def flowkit_register_conditioners() -> list[Descriptor]:
    return [
        Descriptor("conditioner", NameConditionerConfig, "flowkit_NAME.conditioner:NameConditioner"),
    ]
