"""Defines the mathematics of flows: bijectors, their parts, and base distributions. This package needs torch only."""

from flowkit.bijectors.autoregressive import Autoregressive, MaskedConditioner, Order
from flowkit.bijectors.base_distribution import Base, Noise, StandardNormal, log_normal
from flowkit.bijectors.bijector import (
    Bijector,
    clamp_rounding,
    full_precision,
    required_context,
    std_or_1,
    sum_over_event,
)
from flowkit.bijectors.channel_linear import AffineMap, ChannelLinear
from flowkit.bijectors.composition import Composition
from flowkit.bijectors.coupling import Conditioner, Coupling, Split, Transformer, bounded_log_scale
from flowkit.bijectors.elementwise import Elementwise
from flowkit.bijectors.encoder import Encoder
from flowkit.bijectors.inverse import Inverse
from flowkit.bijectors.loop import fixed_loop
from flowkit.bijectors.multiscale import FactorOut
from flowkit.bijectors.numeric_inverse import numeric_inverse

__all__ = [
    "AffineMap",
    "Autoregressive",
    "Base",
    "Bijector",
    "ChannelLinear",
    "Composition",
    "Conditioner",
    "Coupling",
    "Elementwise",
    "Encoder",
    "FactorOut",
    "Inverse",
    "MaskedConditioner",
    "Noise",
    "Order",
    "Split",
    "StandardNormal",
    "Transformer",
    "bounded_log_scale",
    "clamp_rounding",
    "fixed_loop",
    "full_precision",
    "log_normal",
    "numeric_inverse",
    "required_context",
    "std_or_1",
    "sum_over_event",
]
