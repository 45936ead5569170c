"""Bijectors, their composition, and the density that they make with a base distribution."""

from flowkit.flow.base import Base, StandardNormal
from flowkit.flow.bijector import Bijector
from flowkit.flow.channel_linear import ChannelLinear, at_positions
from flowkit.flow.composition import Composition
from flowkit.flow.coupling import Conditioner, Coupling, Split, Transformer
from flowkit.flow.distribution import FlowDistribution
from flowkit.flow.factor_out import FactorOut
from flowkit.flow.flow import Flow
from flowkit.flow.gradients import Gradients

__all__ = [
    "Base",
    "Bijector",
    "ChannelLinear",
    "Composition",
    "Conditioner",
    "Coupling",
    "FactorOut",
    "Flow",
    "FlowDistribution",
    "Gradients",
    "Split",
    "StandardNormal",
    "Transformer",
    "at_positions",
]
