"""Registers the maps between domains. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import (
    POSITIVE,
    BijectorConfig,
    Circle,
    CircleOfEvent,
    Descriptor,
    Domain,
    DomainOfEvent,
    Domains,
    Interval,
    Shape,
    ShapeError,
    TransformerConfig,
    by_coordinate,
    hookimpl,
)


class ToRealsConfig(BijectorConfig):
    """Maps each coordinate to the reals by its domain: an interval by the logit, a half-line by the logarithm."""

    bounds: DomainOfEvent = Field(default=None, validate_default=True)
    """The domain of each coordinate. The default is that of the event."""

    @field_validator("bounds")
    @classmethod
    def _no_circle(cls, bounds: Domains) -> Domains:
        if any(isinstance(domain, Circle) for domain in by_coordinate(bounds)):
            raise PydanticCustomError("circle", "can't be a circle, which no continuous map takes to the reals")
        return bounds

    def output_shape(self, event: Shape) -> Shape:
        if isinstance(self.bounds, tuple) and event != (len(self.bounds),):
            raise ShapeError(f"map/to_reals has bounds for {len(self.bounds)} coordinates")
        return event

    def domain(self, event: Shape) -> Domains | None:
        return self.bounds


class _IntervalConfig(BijectorConfig):
    low: float = 0.0
    """The lower end."""
    high: float = 1.0
    """The upper end."""

    @model_validator(mode="after")
    def _ordered(self) -> _IntervalConfig:
        if not self.low < self.high:
            raise PydanticCustomError("range", "low ({low}) must be below high ({high})", dict(self))
        return self


class LogitConfig(_IntervalConfig):
    """Maps an interval to the reals: y = log(u / (1 - u)) with u = (x - low) / (high - low)."""

    def domain(self, event: Shape) -> Domains | None:
        return Interval(self.low, self.high)


class SigmoidConfig(_IntervalConfig):
    """Maps the reals to an interval: y = low + (high - low) / (1 + exp(-x)). It is the inverse of the logit."""

    def codomain(self, event: Shape) -> Domains:
        return Interval(self.low, self.high)


class ExpConfig(BijectorConfig):
    """Maps the reals to the positive numbers: y = exp(x)."""

    def codomain(self, event: Shape) -> Domains:
        return POSITIVE


class SoftplusConfig(BijectorConfig):
    """Maps the reals to the positive numbers: y = log(1 + exp(x)), which is close to x for large x."""

    def codomain(self, event: Shape) -> Domains:
        return POSITIVE


class SinhArcsinhConfig(BijectorConfig):
    """Learns the skewness and the weight of the tails of each coordinate: y = sinh(δ arsinh(x) + ε)."""


class PhaseConfig(BijectorConfig):
    """Turns a circle by a learned angle of each coordinate: y = x + φ, taken around the circle."""

    bounds: CircleOfEvent = Field(default=None, validate_default=True)
    """The circle. The default is the domain of the event."""

    def domain(self, event: Shape) -> Domains | None:
        return self.bounds

    def codomain(self, event: Shape) -> Domains:
        return self.bounds


class MoebiusConfig(TransformerConfig):
    """The Möbius transformation of a circle to itself, which moves mass to one side of the circle."""

    bounds: CircleOfEvent = Field(default=None, validate_default=True)
    """The circle. The default is the domain of the event."""
    radius: Annotated[float, Field(gt=0, le=0.99)] = 0.9
    """The largest |w|, which is below 1. Slopes are between (1 - radius) / (1 + radius) and the inverse of that."""

    def domain(self) -> Domain:
        return self.bounds


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("to_reals", ToRealsConfig, "flowkit_map.to_reals:ToReals"),
        Descriptor("logit", LogitConfig, "flowkit_map.interval:Logit"),
        Descriptor("sigmoid", SigmoidConfig, "flowkit_map.interval:Sigmoid"),
        Descriptor("exp", ExpConfig, "flowkit_map.half_line:Exp"),
        Descriptor("softplus", SoftplusConfig, "flowkit_map.half_line:Softplus"),
        Descriptor("sinh_arcsinh", SinhArcsinhConfig, "flowkit_map.sinh_arcsinh:SinhArcsinh"),
        Descriptor("phase", PhaseConfig, "flowkit_map.phase:Phase"),
    ]


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [Descriptor("moebius", MoebiusConfig, "flowkit_map.moebius:Moebius")]
