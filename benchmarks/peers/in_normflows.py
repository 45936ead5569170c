"""Glow, spline couplings and autoregressive flows in normflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from normflows import MultiscaleFlow, NormalizingFlow
from normflows.distributions import DiagGaussian
from normflows.flows import (
    AutoregressiveRationalQuadraticSpline,
    CoupledRationalQuadraticSpline,
    GlowBlock,
    MaskedAffineAutoregressive,
    Merge,
    Permute,
    Reverse,
    Squeeze,
)
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.autoregressive import MaskedFlow
    from benchmarks.glow import Glow
    from benchmarks.splines import Splines


def glow(setting: Glow) -> Density:
    """As in its example of Glow, around the networks that all share. Its layers run from latent to data."""
    levels = [[_step(setting, c) for _ in range(setting.steps)] for c, _, _ in setting.shapes()]
    model = MultiscaleFlow(
        [DiagGaussian(shape, trainable=False) for shape in reversed(setting.latent_shapes())],
        [[*level, Squeeze()] for level in reversed(levels)],
        [Merge() for _ in levels[1:]],
        class_cond=False,
    )

    def latents(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([z.flatten(1) for z in model.inverse_and_log_det(x)[0]], 1)

    return Density(model, lambda x: model.log_prob(x, None), lambda n: model.sample(n)[0], latents)


def _step(setting: Glow, c: int) -> GlowBlock:
    block = GlowBlock(c, setting.hidden)
    block.flows[0].flows[1].param_map = setting.network(c)  # its own have LeakyReLU(0), not in place
    return block


def splines(setting: Splines) -> Density:
    """Couplings with the networks that all share. Its layers run from latent to data: the last is reached first."""
    couplings = [_coupling(setting, index) for index in reversed(range(setting.couplings))]
    model = NormalizingFlow(DiagGaussian(setting.features, trainable=False), couplings)
    return Density(model, model.log_prob, lambda n: model.sample(n)[0], model.inverse)


def _coupling(setting: Splines, index: int) -> CoupledRationalQuadraticSpline:
    layer = CoupledRationalQuadraticSpline(setting.features, setting.layers, setting.hidden, setting.bins)
    layer.prqct = PiecewiseRationalQuadraticCoupling(  # its own has a residual network, and transforms both halves
        torch.tensor(setting.transformed(index)),
        lambda i, o: setting.network(index),
        num_bins=setting.bins,
        tails="linear",
        tail_bound=setting.bound,
    )
    return layer


def autoregressive(setting: MaskedFlow) -> Density:
    """Masked layers with MADE of feedforward blocks, and between them a permutation: it has none that reverses."""
    layers = []
    for _ in range(setting.layers):
        layers += [_masked(setting), Permute(setting.features)]
    model = NormalizingFlow(DiagGaussian(setting.features, trainable=False), layers[:-1])
    return Density(model, model.log_prob, lambda n: model.sample(n)[0], model.inverse)


def _masked(setting: MaskedFlow) -> AutoregressiveRationalQuadraticSpline | Reverse:
    blocks = setting.hidden_layers - 1  # behind a first hidden layer
    if not setting.bins:  # its pass of the network runs from latent to data
        layer = MaskedAffineAutoregressive(
            setting.features, setting.hidden, num_blocks=blocks, use_residual_blocks=False
        )
        return Reverse(layer)
    layer = AutoregressiveRationalQuadraticSpline(setting.features, blocks, setting.hidden, setting.bins)
    layer.mprqat = MaskedPiecewiseRationalQuadraticAutoregressive(  # its own has a residual network
        setting.features,
        setting.hidden,
        num_bins=setting.bins,
        tails="linear",
        tail_bound=setting.bound,
        num_blocks=blocks,
        use_residual_blocks=False,
    )
    return layer
