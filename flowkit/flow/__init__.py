"""Flow: the density that bijectors make with base distributions; building it from a spec, and saving it."""

from flowkit.flow.distribution import FlowDistribution
from flowkit.flow.flow import Flow

__all__ = ["Flow", "FlowDistribution"]
