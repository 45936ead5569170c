"""Defines the type of a config's field that holds the bounds of a scale."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def _around_1(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 < bounds[0] < 1 < bounds[1]:
        raise PydanticCustomError("bounds", "needs bounds [lo, hi] with 0 < lo < 1 < hi, such as [0.25, 4]")
    return bounds


ScaleBounds = Annotated[tuple[float, float], AfterValidator(_around_1)]
"""Bounds (lo, hi) of a scale, with 0 < lo < 1 < hi, as ``bounded_log_scale`` of flowkit.bijectors takes them."""
