"""Registers the Glow family: its configs and shape rules. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import (
    BijectorConfig,
    ConditionerConfig,
    Descriptor,
    Domains,
    ScaleBounds,
    Shape,
    ShapeError,
    SplitConfig,
    TransformerConfig,
    event_of,
    halve,
    hookimpl,
)

MAX_HIDDEN = 2**16
Index = Annotated[int, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class RescaleConfig(BijectorConfig):
    """Maps [low, high) to [-1/2, 1/2): y = (x - low) / (high - low) - 1/2."""

    low: float = 0.0
    """The value that is mapped to -1/2."""
    high: float = Field(default=None, validate_default=True)
    """The value that is mapped to 1/2. The default is the event's `levels`."""

    @field_validator("high", mode="before")
    @classmethod
    def _levels(cls, high: Any, info: ValidationInfo) -> Any:
        event = event_of(info)
        if high is not None:
            return high
        if event is None or event.levels is None:
            raise PydanticCustomError("missing_high", "is needed, because the event has no `levels`: 256, for example")
        return event.levels

    @model_validator(mode="after")
    def _ordered(self) -> RescaleConfig:
        if not self.low < self.high:
            raise PydanticCustomError(
                "range", "low ({low}) must be below high ({high})", {"low": self.low, "high": self.high}
            )
        return self


class ActNormConfig(BijectorConfig):
    """Scales and shifts each channel: y = s ⊙ x + b. The first batch initializes s and b for mean 0 and variance 1."""


class Conv1x1Config(BijectorConfig):
    """Mixes the channels with a learned invertible 1×1 convolution: y = W x at each position.

    The values of a vector are its channels, so that this is also the dense linear layer of vectors.
    """

    parametrization: Literal["lu", "plain"] = "lu"
    """lu: W = P L (U + diag s), which is never singular, and whose log-det takes O(c). plain: W itself, whose log-det
    takes O(c³).
    """


class HouseholderConfig(BijectorConfig):
    """Mixes the channels with a learned orthogonal matrix, a product of Householder reflections: y = W x.

    It preserves volume. W is the same at each position of an image.
    """

    reflections: Annotated[int, Field(ge=1, le=4096)] | None = None
    """The number of reflections. The default is the number of channels c, with which W can be any orthogonal matrix of
    determinant (-1)^c.
    """


class _MovingConfig(BijectorConfig):
    def domain(self, event: Shape) -> Domains | None:
        return None  # it only moves values


class PermuteConfig(_MovingConfig):
    """Reorders the channels, in the same way at each position: y_i = x_{order[i]}."""

    order: Literal["reverse", "random"] | Annotated[tuple[Index, ...], Field(min_length=1)] = "reverse"
    """reverse: the reversed order. random: an order that is drawn when the flow is built and saved with its weights. A
    list such as [2, 0, 1]: the index, counted from 0, of the channel that comes first, second and so on.
    """

    @field_validator("order")
    @classmethod
    def _permutation(cls, order: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if not isinstance(order, str) and sorted(order) != list(range(len(order))):
            raise PydanticCustomError(
                "permutation",
                "is no permutation: a list of {n} has each index from 0 to {last} once",
                {"n": len(order), "last": len(order) - 1},
            )
        return order

    def output_shape(self, event: Shape) -> Shape:
        if not isinstance(self.order, str) and len(self.order) != event[0]:
            raise ShapeError(
                f"permute has an order of {len(self.order)} channels, and there are {event[0]}: "
                f"list {event[0]} indices, or write order: reverse or order: random"
            )
        return event


class _AxisConfig(_MovingConfig):
    axis: Literal["width", "height"] = "width"
    """width: the last axis, which is the only one of a vector. height: the rows of an image."""

    def output_shape(self, event: Shape) -> Shape:
        if self.axis == "height" and len(event) != 3:
            raise ShapeError("only an image [channels, height, width] has a height: leave out axis")
        return event


class FlipConfig(_AxisConfig):
    """Reverses the order of the values along the width or the height of an image, or of those of a vector."""


class RollConfig(_AxisConfig):
    """Shifts the values cyclically along the width or the height of an image, or those of a vector."""

    shift: int = 1
    """The number of places by which the values move towards the end. A negative number moves them towards the
    beginning. A value that leaves at one end comes back at the other.
    """


class SqueezeConfig(_MovingConfig):
    """Turns each 2×2 block of positions into channels: [c, h, w] -> [4c, h/2, w/2]."""

    factor: Annotated[int, Field(ge=2, le=64)] = 2
    """The side length of a block."""

    def output_shape(self, event: Shape) -> Shape:
        if len(event) != 3:
            raise ShapeError("squeeze needs an image: write event: {shape: [channels, height, width]}, or leave it out")
        c, h, w = event
        f = self.factor
        if h % f or w % f:
            raise ShapeError(f"squeeze needs height and width divisible by {f}: pad the data, or leave it out here")
        return (c * f * f, h // f, w // f)


class AffineConfig(TransformerConfig):
    """Scales and shifts: y = s ⊙ x + b. The scale s has bounds, and is 1 where the parameters are 0."""

    scale: ScaleBounds | Literal["sigmoid"] = (0.25, 4.0)
    """Bounds [lo, hi] of s, with 0 < lo < 1 < hi. `sigmoid` is s = sigmoid(t + 2) of Glow's published code, for
    reproducing papers. It has no positive lower bound, so a trained model inverts with large errors and can give NaN on
    its own samples.
    """


class AdditiveConfig(TransformerConfig):
    """Shifts: y = x + b. It preserves volume (NICE)."""


class ChannelsConfig(SplitConfig):
    """Divides the channels into halves: the first is kept, the second transformed."""

    swap: bool = False
    """Keep the second half and transform the first."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        c, *rest = event
        if c < 2:
            if not rest:
                raise ShapeError(
                    "a coupling needs 2 values: for events of one, write elementwise: instead of coupling:"
                )
            raise ShapeError("this coupling needs 2 channels: squeeze first, or use split: {use: glow/checkerboard}")
        first, second = ((part, *rest) for part in halve(c))
        return (second, first) if self.swap else (first, second)


class CheckerboardConfig(SplitConfig):
    """Divides the positions like a checkerboard: those with even row + column are kept, the others transformed."""

    swap: bool = False
    """Keep the positions with odd row + column and transform the even ones."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        if len(event) != 3 or event[2] % 2:
            raise ShapeError("a checkerboard needs an image with an even width: pad the data, or split: glow/channels")
        c, h, w = event
        return (c, h, w // 2), (c, h, w // 2)


class ConvNetConfig(ConditionerConfig):
    """The network of Glow for images: convolutions 3×3, 1×1, 3×3. The last one is zero at the start."""

    hidden: Annotated[int, Field(ge=0, le=MAX_HIDDEN)] = 128
    """The number of hidden channels. With 0 there is only the last convolution."""
    normalization: Literal["actnorm", "none"] = "actnorm"
    """actnorm: actnorm after the hidden convolutions, and a learned scale after the last. none: plain convolutions."""
    dropout: Dropout = 0.0
    """The share of the hidden activations that are dropped in training."""

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        if len(kept) != 3:
            raise ShapeError("glow/convnet reads images [channels, height, width]: use glow/mlp for vectors")
        if transformed[1:] != kept[1:]:
            sizes = f"reads {list(kept)}, and can't write parameters for {list(transformed)}"
            raise ShapeError(f"glow/convnet {sizes}, of another height and width: use glow/mlp")


class MLPConfig(ConditionerConfig):
    """A multi-layer perceptron with ReLU for events of any shape. Its last layer is zero at the start."""

    hidden: Annotated[int, Field(ge=1, le=MAX_HIDDEN)] = 128
    """The number of units of each hidden layer."""
    layers: Annotated[int, Field(ge=1, le=32)] = 2
    """The number of hidden layers."""
    dropout: Dropout = 0.0
    """The share of the hidden activations that are dropped in training."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("rescale", RescaleConfig, "flowkit_glow.rescale:Rescale"),
        Descriptor("actnorm", ActNormConfig, "flowkit_glow.actnorm:ActNorm"),
        Descriptor("conv1x1", Conv1x1Config, "flowkit_glow.conv1x1:Conv1x1"),
        Descriptor("householder", HouseholderConfig, "flowkit_glow.householder:Householder"),
        Descriptor("permute", PermuteConfig, "flowkit_glow.permute:Permute"),
        Descriptor("flip", FlipConfig, "flowkit_glow.reordering:Flip"),
        Descriptor("roll", RollConfig, "flowkit_glow.reordering:Roll"),
        Descriptor("squeeze", SqueezeConfig, "flowkit_glow.squeeze:Squeeze"),
    ]


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [
        Descriptor("affine", AffineConfig, "flowkit_glow.affine:Affine"),
        Descriptor("additive", AdditiveConfig, "flowkit_glow.affine:Additive"),
    ]


@hookimpl
def flowkit_register_splits() -> list[Descriptor]:
    return [
        Descriptor("channels", ChannelsConfig, "flowkit_glow.splits:Channels"),
        Descriptor("checkerboard", CheckerboardConfig, "flowkit_glow.splits:Checkerboard"),
    ]


@hookimpl
def flowkit_register_conditioners() -> list[Descriptor]:
    return [
        Descriptor("convnet", ConvNetConfig, "flowkit_glow.convnet:ConvNet"),
        Descriptor("mlp", MLPConfig, "flowkit_glow.mlp:MLP"),
    ]
