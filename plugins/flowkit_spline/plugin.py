"""Registers the spline transformers: their configs. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat

from flowkit.plugin import CircleOfEvent, Descriptor, Domain, TransformerConfig, hookimpl


class RationalQuadraticConfig(TransformerConfig):
    """A monotonic rational-quadratic spline on [-bound, bound], and the identity outside."""

    bins: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of bins of the spline."""
    bound: PositiveFloat = 3.0
    """The spline ends at ±bound, where the identity begins."""


class CircularConfig(TransformerConfig):
    """A monotonic rational-quadratic spline of a circle to itself, whose ends are one knot."""

    bounds: CircleOfEvent = Field(default=None, validate_default=True)
    """The circle. The default is the domain of the event."""
    bins: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of bins of the spline."""

    def domain(self) -> Domain:
        return self.bounds


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [
        Descriptor(
            "rational_quadratic",
            RationalQuadraticConfig,
            "flowkit_spline.rational_quadratic:RationalQuadratic",
        ),
        Descriptor("circular", CircularConfig, "flowkit_spline.rational_quadratic:CircularRationalQuadratic"),
    ]
