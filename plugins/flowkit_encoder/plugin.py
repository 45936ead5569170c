"""Registers the encoders: their configs and shape rules. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flowkit.plugin import Descriptor, EncoderConfig, Shape, ShapeError, hookimpl

Units = Annotated[int, Field(ge=1, le=2**16)]
Layers = Annotated[int, Field(ge=1, le=32)]


class VectorConfig(EncoderConfig):
    """An encoder whose summary is a vector."""

    features: Units = 16
    """The number of values in the summary."""

    def output_shape(self, context: Shape) -> Shape:
        return (self.features,)


class MLPEncoderConfig(VectorConfig):
    """A multi-layer perceptron with ReLU for contexts of any shape, which it flattens."""

    hidden: Units = 64
    """The number of units of each hidden layer."""
    layers: Layers = 2
    """The number of hidden layers."""


class ConvConfig(VectorConfig):
    """Convolutions with ReLU for images. Each convolution halves the height and the width."""

    hidden: Units = 32
    """The number of channels of each convolution."""
    layers: Layers = 3
    """The number of convolutions."""

    def output_shape(self, context: Shape) -> Shape:
        if len(context) != 3:
            raise ShapeError("reads images, [channels, height, width]: take encoder/mlp for vectors")
        return super().output_shape(context)


class DeepSetConfig(VectorConfig):
    """A network for sets of vectors, whose order has no effect on the summary."""

    hidden: Units = 64
    """The number of units of each hidden layer."""
    layers: Layers = 2
    """The number of hidden layers before the mean over the set, and of those behind it."""

    def output_shape(self, context: Shape) -> Shape:
        if len(context) != 2:
            raise ShapeError(f"reads sets of n vectors of d values, [n, d]{_for_numbers(context)}")
        return super().output_shape(context)


class GRUConfig(VectorConfig):
    """A recurrent network with gates for sequences of vectors."""

    hidden: Units = 64
    """The number of units of each layer."""
    layers: Layers = 1
    """The number of recurrent layers, each of which reads the outputs of the layer before it."""

    def output_shape(self, context: Shape) -> Shape:
        if len(context) != 2:
            raise ShapeError(f"reads sequences of t vectors of d values, [t, d]{_for_numbers(context)}")
        return super().output_shape(context)


def _for_numbers(context: Shape) -> str:
    """Return advice on how to write a context of numbers, or "" for a context of another shape."""
    return f": write [{context[0]}, 1] for {context[0]} numbers" if len(context) == 1 else ""


@hookimpl
def flowkit_register_encoders() -> list[Descriptor]:
    return [
        Descriptor("mlp", MLPEncoderConfig, "flowkit_encoder.mlp:MLPEncoder"),
        Descriptor("conv", ConvConfig, "flowkit_encoder.conv:Conv"),
        Descriptor("deep_set", DeepSetConfig, "flowkit_encoder.deep_set:DeepSet"),
        Descriptor("gru", GRUConfig, "flowkit_encoder.gru:GRU"),
    ]
