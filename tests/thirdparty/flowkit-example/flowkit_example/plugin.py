"""What a spec may say of the layers in this package. Imports no torch."""

from typing import Annotated

from pydantic import Field, PositiveInt

from flowkit.plugin import BijectorConfig, Descriptor, TransformerConfig, hookimpl


class SinhArcsinhConfig(BijectorConfig):
    """y = sinh(t asinh(x) + s): a learned skewness and tail weight for each channel."""


class HouseholderConfig(BijectorConfig):
    """A learned rotation or reflection of the channels, the same at each position."""

    reflections: PositiveInt = 2
    """How many reflections the map is made of; as many as there are channels reach every orthogonal map."""


class BendConfig(TransformerConfig):
    """A line with one smooth bend: one slope far to the left, another far to the right."""

    max_slope: Annotated[float, Field(gt=1, le=100)] = 4.0
    """Both slopes stay between 1/max_slope and max_slope."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("sinh_arcsinh", SinhArcsinhConfig, "flowkit_example.sinh_arcsinh:SinhArcsinh"),
        Descriptor("householder", HouseholderConfig, "flowkit_example.householder:Householder"),
    ]


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [Descriptor("bend", BendConfig, "flowkit_example.bend:Bend")]
