"""Registers the base distributions: their configs. This module doesn't import torch."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import (
    BaseConfig,
    ConditionerConfig,
    ConditionerRef,
    Descriptor,
    DomainOfEvent,
    Domains,
    ReadsContext,
    ScaleBounds,
    Shape,
    ShapeError,
    by_coordinate,
    context_of,
    hookimpl,
)


class StandardNormalConfig(BaseConfig):
    """N(0, I): independent standard normals."""


class DiagonalNormalConfig(BaseConfig):
    """Independent normals with a learned mean and standard deviation of each value."""


class FullNormalConfig(BaseConfig):
    """The normal distribution with a learned mean and full covariance."""


class LaplaceConfig(BaseConfig):
    """Independent Laplace distributions with a learned location and scale of each value."""


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


class GaussianMixtureConfig(BaseConfig):
    """A mixture of normals with learned weights, means and standard deviations."""

    components: Annotated[int, Field(ge=2, le=1024)]
    """The number of normals."""


class StudentTConfig(BaseConfig):
    """Independent t-distributions, which have heavy tails."""

    degrees_of_freedom: Annotated[float, Field(ge=1e-3, le=1e6)] = 5.0
    """ν, the degrees of freedom, before training: the smaller, the heavier the tails. 1 is the Cauchy distribution."""
    learned: bool = True
    """Learn ν, one for each value of the event; false keeps it as it is."""


class ClassConditionalNormalConfig(BaseConfig):
    """A normal distribution with learned mean and standard deviations for each class of the context."""

    reads_context: ClassVar[ReadsContext] = "required"

    @model_validator(mode="after")
    def _classes(self, info: ValidationInfo) -> ClassConditionalNormalConfig:
        context = context_of(info)
        if context is not None and context.classes is None:
            raise PydanticCustomError(
                "classes",
                "needs a context of classes without an encoder, such as {classes: 10}; for arrays use "
                "base/conditional_normal",
            )
        return self


class ConditionalNormalConfig(BaseConfig):
    """A normal distribution whose mean and standard deviations a network computes from the context."""

    reads_context: ClassVar[ReadsContext] = "required"

    conditioner: ConditionerRef
    """The network that reads the context, and writes the mean and the scale of each value."""
    scale: ScaleBounds = (0.01, 100.0)
    """Bounds [lo, hi] of the standard deviations, with 0 < lo < 1 < hi."""

    def check_shapes(self, event: Shape, context: Shape | None) -> None:
        assert isinstance(self.conditioner.config, ConditionerConfig)
        if context is None:
            return  # which is an error of its own
        try:
            self.conditioner.config.check_shapes(context, event)
        except ValueError as error:
            raise ShapeError(f"{error}; here it reads the context, {list(context)}") from error


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [
        Descriptor("standard_normal", StandardNormalConfig, "flowkit.bijectors.base_distribution:StandardNormal"),
        Descriptor("diagonal_normal", DiagonalNormalConfig, "flowkit_base.diagonal_normal:DiagonalNormal"),
        Descriptor("full_normal", FullNormalConfig, "flowkit_base.full_normal:FullNormal"),
        Descriptor("laplace", LaplaceConfig, "flowkit_base.laplace:Laplace"),
        Descriptor("uniform", UniformConfig, "flowkit_base.uniform:Uniform"),
        Descriptor("gaussian_mixture", GaussianMixtureConfig, "flowkit_base.gaussian_mixture:GaussianMixture"),
        Descriptor("student_t", StudentTConfig, "flowkit_base.student_t:StudentT"),
        Descriptor(
            "class_conditional_normal",
            ClassConditionalNormalConfig,
            "flowkit_base.class_conditional_normal:ClassConditionalNormal",
        ),
        Descriptor("conditional_normal", ConditionalNormalConfig, "flowkit_base.conditional_normal:ConditionalNormal"),
    ]
