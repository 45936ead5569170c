"""Glow, spline couplings and autoregressive flows in nflows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    MultiscaleCompositeTransform,
    OneByOneConvolution,
    PiecewiseRationalQuadraticCouplingTransform,
    ReversePermutation,
    SqueezeTransform,
    Transform,
)

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.autoregressive import MaskedFlow
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


def autoregressive(setting: MaskedFlow) -> Density:
    """Masked layers with MADE of feedforward blocks, and between them the values in reverse."""
    sizes = {
        "features": setting.features,
        "hidden_features": setting.hidden,
        "num_blocks": setting.hidden_layers - 1,  # behind a first hidden layer
        "use_residual_blocks": False,
    }
    spline = {"num_bins": setting.bins, "tails": "linear", "tail_bound": setting.bound}
    layers: list[Transform] = []
    for _ in range(setting.layers):
        layers += [
            MaskedPiecewiseRationalQuadraticAutoregressiveTransform(**sizes, **spline)
            if setting.bins
            else MaskedAffineAutoregressiveTransform(**sizes),
            ReversePermutation(setting.features),
        ]
    model = Flow(CompositeTransform(layers[:-1]), StandardNormal([setting.features]))
    return Density(model, model.log_prob, model.sample, model.transform_to_noise)
