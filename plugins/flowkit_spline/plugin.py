"""Registers the spline transformers: their configs. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import (
    Circle,
    Descriptor,
    Domain,
    DomainField,
    Domains,
    TransformerConfig,
    domain_of_event,
    hookimpl,
)


class RationalQuadraticConfig(TransformerConfig):
    """A monotonic rational-quadratic spline on [-bound, bound], and the identity outside."""

    bins: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of bins of the spline."""
    bound: PositiveFloat = 3.0
    """The spline ends at ±bound, where the identity begins."""


class CircularConfig(TransformerConfig):
    """A monotonic rational-quadratic spline of a circle to itself, whose ends are one knot."""

    bounds: DomainField = Field(default=None, validate_default=True)
    """The circle. The default is the domain of the event."""
    bins: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of bins of the spline."""

    @field_validator("bounds", mode="before")
    @classmethod
    def _of_the_event(cls, bounds: Any, info: ValidationInfo) -> Any:
        return domain_of_event(info) if bounds is None else bounds

    @field_validator("bounds")
    @classmethod
    def _a_circle(cls, bounds: Domains) -> Domains:
        if not isinstance(bounds, Circle):
            raise PydanticCustomError("circle", "must be a circle")
        return bounds

    def domain(self) -> Domain:
        assert isinstance(self.bounds, Circle)
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
