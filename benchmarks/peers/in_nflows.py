"""Glow and spline couplings in nflows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    MultiscaleCompositeTransform,
    OneByOneConvolution,
    PiecewiseRationalQuadraticCouplingTransform,
    SqueezeTransform,
    Transform,
)

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.glow import Glow
    from benchmarks.splines import Splines


def glow(setting: Glow) -> Density:
    """As in the authors' own experiments. The first half of the channels leaves here."""
    multiscale = MultiscaleCompositeTransform(setting.levels)
    for c, h, w in setting.shapes():
        steps = [layer for _ in range(setting.steps) for layer in _step(setting, c)]
        multiscale.add_transform(CompositeTransform([SqueezeTransform(), *steps]), (c, h, w))
    model = Flow(multiscale, StandardNormal([math.prod(setting.event)]))
    return Density(model, model.log_prob, model.sample, model.transform_to_noise)


def _step(setting: Glow, c: int) -> list[Transform]:
    mask = [0] * (c // 2) + [1] * (c // 2)
    coupling = AffineCouplingTransform(mask, lambda i, o: setting.network(c))
    return [ActNorm(c), OneByOneConvolution(c, identity_init=False), coupling]


def splines(setting: Splines) -> Density:
    """Couplings with the networks that all share."""
    couplings = [
        PiecewiseRationalQuadraticCouplingTransform(
            setting.transformed(index),
            lambda i, o, index=index: setting.network(index),
            num_bins=setting.bins,
            tails="linear",
            tail_bound=setting.bound,
        )
        for index in range(setting.couplings)
    ]
    model = Flow(CompositeTransform(couplings), StandardNormal([setting.features]))
    return Density(model, model.log_prob, model.sample, model.transform_to_noise)
