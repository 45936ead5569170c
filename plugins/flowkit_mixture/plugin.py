"""Registers the mixture-of-logistics transformer: its config. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import Descriptor, TransformerConfig, hookimpl


class LogisticConfig(TransformerConfig):
    """The logit of the distribution function of a mixture of logistic distributions (Flow++)."""

    components: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of components."""
    scale: tuple[float, float] = (0.25, 4.0)
    """Bounds [lo, hi] of the components' scales, with 0 < lo < 1 < hi."""

    @field_validator("scale")
    @classmethod
    def _bounds(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] < 1 < scale[1]:
            raise PydanticCustomError("bounds", "needs bounds [lo, hi] with 0 < lo < 1 < hi, such as [0.25, 4]")
        return scale


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [Descriptor("logistic", LogisticConfig, "flowkit_mixture.logistic:MixtureOfLogistics")]
