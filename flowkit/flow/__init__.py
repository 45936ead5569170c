"""Defines Flow, a density made of bijectors and base distributions. It can be built from a spec, and saved."""

from flowkit.flow.distribution import FlowDistribution
from flowkit.flow.flow import Flow

__all__ = ["Flow", "FlowDistribution"]
