"""Registers the mixture-of-logistics transformer: its config. This module doesn't import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flowkit.plugin import Descriptor, ScaleBounds, TransformerConfig, hookimpl


class LogisticConfig(TransformerConfig):
    """The logit of the distribution function of a mixture of logistic distributions (Flow++)."""

    components: Annotated[int, Field(ge=2, le=256)] = 8
    """The number of components."""
    scale: ScaleBounds = (0.25, 4.0)
    """Bounds [lo, hi] of the components' scales, with 0 < lo < 1 < hi."""


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [Descriptor("logistic", LogisticConfig, "flowkit_mixture.logistic:MixtureOfLogistics")]
