"""Registers the base distributions. This module doesn't import torch."""

from __future__ import annotations

import math

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import BaseConfig, Descriptor, DomainOfEvent, Domains, Shape, by_coordinate, hookimpl


class StandardNormalConfig(BaseConfig):
    """N(0, I): independent standard normals."""


class UniformConfig(BaseConfig):
    """The uniform distribution on a box, or on circles."""

    bounds: DomainOfEvent = Field(default=None, validate_default=True)
    """The intervals or circles: one for all coordinates, or for a vector a list with one for each. The default is the
    domain of the event."""

    @field_validator("bounds")
    @classmethod
    def _finite(cls, bounds: Domains) -> Domains:
        if not all(math.isfinite(domain.low) and math.isfinite(domain.high) for domain in by_coordinate(bounds)):
            raise PydanticCustomError("finite", "needs intervals with two finite ends, such as [0, 1]")
        return bounds

    def support(self, event: Shape) -> Domains:
        return self.bounds


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [
        Descriptor("standard_normal", StandardNormalConfig, "flowkit.bijectors.base_distribution:StandardNormal"),
        Descriptor("uniform", UniformConfig, "flowkit_base.uniform:Uniform"),
    ]
