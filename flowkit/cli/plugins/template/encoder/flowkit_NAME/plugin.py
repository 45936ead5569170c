"""Registers the encoder of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import Descriptor, EncoderConfig, Shape, ShapeError, hookimpl
from pydantic import PositiveInt


class NameEncoderConfig(EncoderConfig):
    """A mean over a set of vectors, whose weights are learned."""

    features: PositiveInt = 8
    """The number of values in the summary."""
    hidden: PositiveInt = 32
    """The number of units of the hidden layer."""

    def output_shape(self, context: Shape) -> Shape:
        if len(context) != 2:
            raise ShapeError("NAME/encoder reads sets of vectors, [n, d]")
        return (self.features,)


@hookimpl
def flowkit_register_encoders() -> list[Descriptor]:
    return [
        Descriptor("encoder", NameEncoderConfig, "flowkit_NAME.encoder:NameEncoder"),
    ]
