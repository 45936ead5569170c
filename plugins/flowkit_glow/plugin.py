"""Registers the Glow family: configs and shape rules, without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import (
    BijectorConfig,
    ConditionerConfig,
    Descriptor,
    Shape,
    ShapeError,
    SplitConfig,
    TransformerConfig,
    event_of,
    halve,
    hookimpl,
)

MAX_HIDDEN = 2**16
Dropout = Annotated[float, Field(ge=0, lt=1)]


class RescaleConfig(BijectorConfig):
    """Maps [low, high) to [-1/2, 1/2): y = (x - low) / (high - low) - 1/2."""

    low: float = 0.0
    """What becomes -1/2."""
    high: float = Field(default=None, validate_default=True)
    """What becomes 1/2. By default the event's `levels`."""

    @field_validator("high", mode="before")
    @classmethod
    def _levels(cls, high: Any, info: ValidationInfo) -> Any:
        event = event_of(info)
        if high is not None:
            return high
        if event is None or event.levels is None:
            raise PydanticCustomError("missing_high", "is needed, because the event has no `levels`")
        return event.levels

    @model_validator(mode="after")
    def _ordered(self) -> RescaleConfig:
        if not self.low < self.high:
            raise PydanticCustomError(
                "range", "low ({low}) must be below high ({high})", {"low": self.low, "high": self.high}
            )
        return self


class ActNormConfig(BijectorConfig):
    """y = s ⊙ x + b for each channel, s and b set from the first batch to give mean 0 and variance 1, then learned."""


class Conv1x1Config(BijectorConfig):
    """y = W x at each position: an invertible 1×1 convolution, a learned mixing of the channels."""

    parametrization: Literal["lu", "plain"] = "lu"
    """lu: W = P L (U + diag s), log-det in O(c), never singular. plain: W itself, log-det by slogdet in O(c³)."""


class PermuteConfig(BijectorConfig):
    """Reorders the channels, the same way at each position."""

    order: Literal["reverse", "random"] = "reverse"
    """reverse, or one order drawn when the flow is built and kept with the weights."""


class SqueezeConfig(BijectorConfig):
    """[c, h, w] -> [4c, h/2, w/2]: each 2×2 block of positions becomes channels."""

    factor: Annotated[int, Field(ge=2, le=64)] = 2
    """The side of a block."""

    def output_shape(self, event: Shape) -> Shape:
        if len(event) != 3:
            raise ShapeError("squeeze needs an image [channels, height, width]")
        c, h, w = event
        f = self.factor
        if h % f or w % f:
            raise ShapeError(f"squeeze needs height and width divisible by {f}: pad the data, or leave it out here")
        return (c * f * f, h // f, w // f)


class AffineConfig(TransformerConfig):
    """y = s ⊙ x + b, the scale s within declared bounds and 1 where the parameters are 0."""

    scale: tuple[float, float] | Literal["sigmoid"] = (0.25, 4.0)
    """Bounds [lo, hi] of s, 0 < lo < 1 < hi. `sigmoid` is Glow's published s = sigmoid(t + 2), for reproducing papers:
    it has no lower bound, so that a trained model inverts with large errors and can give NaN on its own samples."""

    @field_validator("scale")
    @classmethod
    def _bounds(cls, scale: tuple[float, float] | str) -> tuple[float, float] | str:
        if not isinstance(scale, str) and not 0 < scale[0] < 1 < scale[1]:
            raise PydanticCustomError("bounds", "needs bounds [lo, hi] with 0 < lo < 1 < hi, such as [0.25, 4]")
        return scale


class AdditiveConfig(TransformerConfig):
    """y = x + b: volume preserving (NICE)."""


class ChannelsConfig(SplitConfig):
    """Halves the channels: the first half is kept, the second transformed."""

    swap: bool = False
    """Keep the second half and transform the first."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        c, *rest = event
        if c < 2:
            raise ShapeError("this coupling needs 2 channels: squeeze first, or use split: {use: glow/checkerboard}")
        first, second = ((part, *rest) for part in halve(c))
        return (second, first) if self.swap else (first, second)


class CheckerboardConfig(SplitConfig):
    """Divides the positions like a checkerboard: those with even row + column are kept, the others transformed."""

    swap: bool = False
    """Keep the odd positions and transform the even ones."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        if len(event) != 3 or event[2] % 2:
            raise ShapeError("a checkerboard needs an image with an even width: pad the data, or split: glow/channels")
        c, h, w = event
        return (c, h, w // 2), (c, h, w // 2)


class ConvNetConfig(ConditionerConfig):
    """Glow's network for images: convolutions 3×3, 1×1, 3×3, the last zero at the start."""

    hidden: Annotated[int, Field(ge=0, le=MAX_HIDDEN)] = 128
    """Channels between the convolutions; 0 for the last convolution alone."""
    normalization: Literal["actnorm", "none"] = "actnorm"
    """actnorm: behind the hidden convolutions, and a learned scale behind the last; none: plain convolutions."""
    dropout: Dropout = 0.0
    """Share of the hidden activations that are dropped in training."""

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        if len(kept) != 3:
            raise ShapeError("glow/convnet reads images [channels, height, width]: use glow/mlp for vectors")


class MLPConfig(ConditionerConfig):
    """A multi-layer perceptron with ReLU, its last layer zero at the start. Reads and writes any shape, flattened."""

    hidden: Annotated[int, Field(ge=1, le=MAX_HIDDEN)] = 128
    """Units of each hidden layer."""
    layers: Annotated[int, Field(ge=1, le=32)] = 2
    """Hidden layers."""
    dropout: Dropout = 0.0
    """Share of the hidden activations that are dropped in training."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("rescale", RescaleConfig, "flowkit_glow.rescale:Rescale"),
        Descriptor("actnorm", ActNormConfig, "flowkit_glow.actnorm:ActNorm"),
        Descriptor("conv1x1", Conv1x1Config, "flowkit_glow.conv1x1:Conv1x1"),
        Descriptor("permute", PermuteConfig, "flowkit_glow.permute:Permute"),
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
