"""Glow and spline couplings in normflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from normflows import MultiscaleFlow
from normflows.distributions import DiagGaussian
from normflows.flows import GlowBlock, Merge, Squeeze

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.glow import Glow


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
