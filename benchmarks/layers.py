"""Single layers, couplings and base distributions on vectors, each beside the same one of the peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contender import Density
from flowkit.bijectors import Autoregressive, Base, Bijector, Coupling, Elementwise, Inverse, Transformer
from flowkit.domains import Circle, Interval
from flowkit_autoregressive.made import MADE
from flowkit_autoregressive.orders import Natural
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.uniform import Uniform
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.householder import Householder
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from flowkit_glow.splits import Channels
from flowkit_map.half_line import Exp, Softplus
from flowkit_map.interval import Logit, Sigmoid
from flowkit_residual.planar import Planar
from flowkit_spline.rational_quadratic import CircularRationalQuadratic, RationalQuadratic

FEATURES, BINS, COMPONENTS, CLASSES = 10, 8, 20, 10
HIDDEN, HIDDEN_LAYERS = 128, 2
"""Of the networks, in couplings and in the inverse autoregressive layer."""
BOUND = 3.0
"""The splines' bound, and that of the uniform distribution."""
CALLS = 20
"""Calls in a step: one takes some tens of microseconds."""
COLUMNS = (("train", 512), ("log_prob", 512), ("sample", 512))
PEERS = ("nflows", "normflows", "zuko")
CIRCLE = Circle(-math.pi, math.pi)


@dataclass
class Several(Density):
    """A density whose step is CALLS steps. A module without parameters has no training step."""

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        if task == "train" and not self.parameters:
            raise NotImplementedError("has no parameters")
        step = super().step(task, x)
        return lambda: [step() for _ in range(CALLS)]


Direction = Callable[[Tensor], tuple[Tensor, Tensor]]


def layer(module: nn.Module, forward: Direction, inverse: Direction | None = None) -> Density:
    """A layer with these directions, each of which gives a log-det too. The base is a standard normal for all."""

    def log_prob(x: Tensor) -> Tensor:
        y, log_det = forward(x)
        return log_det - 0.5 * y.square().sum(1)

    y = batch(COLUMNS[0][1])
    return Several(module, log_prob, inverse and (lambda n: inverse(y[:n])[0]))


def _ours(bijector: Bijector) -> Density:
    inverse = bijector.inverse_and_log_det if bijector.directions == "both" else None
    return layer(bijector, bijector.forward_and_log_det, inverse)


def _coupling(transformer: Transformer) -> Density:
    """A coupling that keeps half of the values."""
    split = Channels(VECTOR)
    kept, transformed = (part.shape[1:] for part in split.split(batch(1)))
    return _ours(
        Coupling(split, MLP(kept, (transformer.n_params, *transformed), None, HIDDEN, HIDDEN_LAYERS), transformer)
    )


def _inverse_autoregressive() -> Density:
    order, transformer = Natural(VECTOR), Affine(SCALES)
    network = MADE(order, (transformer.n_params, FEATURES), None, HIDDEN, HIDDEN_LAYERS)
    return _ours(Inverse(Autoregressive(order, network, transformer)))


def _base(base: Base, context: Tensor | None = None) -> Density:
    def given(n: int) -> Tensor | None:
        return None if context is None else context[:n]

    def sample(n: int) -> Tensor:
        noise = [(torch.randn if each.kind == "normal" else torch.rand)(n, *each.shape) for each in base.noise]
        return base.from_noise(noise, given(n))

    return Several(base, lambda z: base.log_prob(z, given(len(z))), sample)


def labels() -> Tensor:
    """The labels of a batch, integers [batch]."""
    return torch.arange(COLUMNS[0][1]) % CLASSES


VECTOR = (FEATURES,)
SCALES = (1e-3, 1e3)
"""The bounds of zuko's scales."""
PERMUTATION = list(range(0, FEATURES, 2)) + list(range(1, FEATURES, 2))
OURS: Mapping[str, Callable[[], Density]] = {
    "actnorm": lambda: _ours(ActNorm(VECTOR)),
    "linear, LU": lambda: _ours(Conv1x1(VECTOR, "lu")),
    "linear, plain": lambda: _ours(Conv1x1(VECTOR, "plain")),
    "Householder": lambda: _ours(Householder(VECTOR)),
    "Householder, two reflections": lambda: _ours(Householder(VECTOR, 2)),
    "permutation": lambda: _ours(Permute(VECTOR, PERMUTATION)),
    "affine": lambda: _ours(Elementwise(VECTOR, Affine(SCALES))),
    "spline": lambda: _ours(Elementwise(VECTOR, RationalQuadratic(BINS, BOUND))),
    "circular spline": lambda: _ours(Elementwise(VECTOR, CircularRationalQuadratic(CIRCLE, BINS))),
    "affine coupling": lambda: _coupling(Affine(SCALES)),
    "spline coupling": lambda: _coupling(RationalQuadratic(BINS, BOUND)),
    "inverse autoregressive": _inverse_autoregressive,
    "planar": lambda: _ours(Planar(VECTOR)),
    "logit": lambda: _ours(Logit(VECTOR)),
    "sigmoid": lambda: _ours(Sigmoid(VECTOR)),
    "exp": lambda: _ours(Exp(VECTOR)),
    "softplus": lambda: _ours(Softplus(VECTOR)),
    "normal": lambda: _base(DiagonalNormal(VECTOR)),
    "Gaussian mixture": lambda: _base(GaussianMixture(VECTOR, COMPONENTS)),
    "class-conditional normal": lambda: _base(
        ClassConditionalNormal(VECTOR, (CLASSES,)), nn.functional.one_hot(labels(), CLASSES).float()
    ),
    "uniform": lambda: _base(Uniform(VECTOR, Interval(-BOUND, BOUND))),
}


def contenders(name: str) -> dict[str, Callable[[], Density]]:
    """flowkit and the peers that have this layer or distribution."""
    found = {"flowkit": OURS[name]}
    for peer in PEERS:
        found[peer] = partial(_peers, peer, name)
    return found


def _peers(peer: str, name: str) -> Density:
    """Imported here, as the peer may not be installed. Raises NotImplementedError where it has no such layer."""
    there: Mapping[str, Callable[[], Density]] = import_module(f"benchmarks.peers.layers_{peer}").LAYERS
    if name not in there:
        raise NotImplementedError(f"{peer} has none")
    return there[name]()


def batch(n: int) -> Tensor:
    """n events between 0.25 and 0.75, which is within the domain of every layer."""
    return 0.25 + 0.5 * torch.rand(n, FEATURES, generator=torch.Generator().manual_seed(0))
