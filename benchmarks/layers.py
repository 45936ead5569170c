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

from benchmarks.contender import TASKS, Density
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

BATCHES = {10: 512, 64: 4096}
"""The batch of vectors of so many values. Of a small one the time is that of calling operators."""
BINS, COMPONENTS, CLASSES = 8, 20, 10
HIDDEN, HIDDEN_LAYERS = 128, 2
"""Of the networks, in couplings and in the inverse autoregressive layer."""
BOUND = 3.0
"""The splines' bound, and that of the uniform distribution."""
VALUES_A_STEP = 100_000
"""A step calls a layer until it has seen so many values: a small batch takes some tens of microseconds."""
PEERS = ("nflows", "normflows", "zuko")
CIRCLE = Circle(-math.pi, math.pi)


@dataclass
class Several(Density):
    """A density whose step is several steps. A module without parameters has no training step."""

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        if task == "train" and not self.parameters:
            raise NotImplementedError("has no parameters")
        step, calls = super().step(task, x), max(1, VALUES_A_STEP // x.numel())
        return lambda: [step() for _ in range(calls)]


Direction = Callable[[Tensor], tuple[Tensor, Tensor]]


def layer(features: int, module: nn.Module, forward: Direction, inverse: Direction | None = None) -> Density:
    """A layer with these directions, each of which gives a log-det too. The base is a standard normal for all."""

    def log_prob(x: Tensor) -> Tensor:
        y, log_det = forward(x)
        return log_det - 0.5 * y.square().sum(1)

    y = batch(features, BATCHES[features])
    return Several(module, log_prob, inverse and (lambda n: inverse(y[:n])[0]))


def _ours(bijector: Bijector) -> Density:
    inverse = bijector.inverse_and_log_det if bijector.directions == "both" else None
    return layer(bijector.event_shape[0], bijector, bijector.forward_and_log_det, inverse)


def _coupling(d: int, transformer: Transformer) -> Density:
    """A coupling that keeps half of the values."""
    split = Channels((d,))
    kept, transformed = (part.shape[1:] for part in split.split(batch(d, 1)))
    return _ours(
        Coupling(split, MLP(kept, (transformer.n_params, *transformed), None, HIDDEN, HIDDEN_LAYERS), transformer)
    )


def _inverse_autoregressive(d: int) -> Density:
    order, transformer = Natural((d,)), Affine(SCALES)
    network = MADE(order, (transformer.n_params, d), None, HIDDEN, HIDDEN_LAYERS)
    return _ours(Inverse(Autoregressive(order, network, transformer)))


def _base(base: Base, context: Tensor | None = None) -> Density:
    def given(n: int) -> Tensor | None:
        return None if context is None else context[:n]

    def sample(n: int) -> Tensor:
        noise = [(torch.randn if each.kind == "normal" else torch.rand)(n, *each.shape) for each in base.noise]
        return base.from_noise(noise, given(n))

    return Several(base, lambda z: base.log_prob(z, given(len(z))), sample)


def labels(features: int) -> Tensor:
    """The labels of a batch, integers [batch]."""
    return torch.arange(BATCHES[features]) % CLASSES


def permutation(features: int) -> list[int]:
    """The even places, then the odd ones."""
    return [*range(0, features, 2), *range(1, features, 2)]


SCALES = (1e-3, 1e3)
"""The bounds of zuko's scales."""
OURS: Mapping[str, Callable[[int], Density]] = {
    "actnorm": lambda d: _ours(ActNorm((d,))),
    "linear, LU": lambda d: _ours(Conv1x1((d,), "lu")),
    "linear, plain": lambda d: _ours(Conv1x1((d,), "plain")),
    "Householder": lambda d: _ours(Householder((d,))),
    "Householder, two reflections": lambda d: _ours(Householder((d,), 2)),
    "permutation": lambda d: _ours(Permute((d,), permutation(d))),
    "affine": lambda d: _ours(Elementwise((d,), Affine(SCALES))),
    "spline": lambda d: _ours(Elementwise((d,), RationalQuadratic(BINS, BOUND))),
    "circular spline": lambda d: _ours(Elementwise((d,), CircularRationalQuadratic(CIRCLE, BINS))),
    "affine coupling": lambda d: _coupling(d, Affine(SCALES)),
    "spline coupling": lambda d: _coupling(d, RationalQuadratic(BINS, BOUND)),
    "inverse autoregressive": _inverse_autoregressive,
    "planar": lambda d: _ours(Planar((d,))),
    "logit": lambda d: _ours(Logit((d,))),
    "sigmoid": lambda d: _ours(Sigmoid((d,))),
    "exp": lambda d: _ours(Exp((d,))),
    "softplus": lambda d: _ours(Softplus((d,))),
    "normal": lambda d: _base(DiagonalNormal((d,))),
    "Gaussian mixture": lambda d: _base(GaussianMixture((d,), COMPONENTS)),
    "class-conditional normal": lambda d: _base(
        ClassConditionalNormal((d,), (CLASSES,)), nn.functional.one_hot(labels(d), CLASSES).float()
    ),
    "uniform": lambda d: _base(Uniform((d,), Interval(-BOUND, BOUND))),
}


def columns(features: int) -> list[tuple[str, int]]:
    """The tasks that are timed, with their batch."""
    return [(task, BATCHES[features]) for task in TASKS]


def contenders(name: str, features: int) -> dict[str, Callable[[], Density]]:
    """flowkit and the peers that have this layer or distribution."""
    found = {"flowkit": partial(OURS[name], features)}
    for peer in PEERS:
        found[peer] = partial(_peers, peer, name, features)
    return found


def _peers(peer: str, name: str, features: int) -> Density:
    """Imported here, as the peer may not be installed. Raises NotImplementedError where it has no such layer."""
    there: Mapping[str, Callable[[int], Density]] = import_module(f"benchmarks.peers.layers_{peer}").LAYERS
    if name not in there:
        raise NotImplementedError(f"{peer} has none")
    return there[name](features)


def batch(features: int, n: int) -> Tensor:
    """n events between 0.25 and 0.75, which is within the domain of every layer."""
    return 0.25 + 0.5 * torch.rand(n, features, generator=torch.Generator().manual_seed(0))
