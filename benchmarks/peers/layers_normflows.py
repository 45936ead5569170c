"""Single layers, couplings and bases of normflows. Its layers run from latent to data: here by their inverse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from normflows import distributions, flows
from normflows.distributions.base import Uniform
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCDF, PiecewiseRationalQuadraticCoupling

from benchmarks.contender import Density
from benchmarks.layers import (
    BINS,
    BOUND,
    CLASSES,
    COMPONENTS,
    FEATURES,
    HIDDEN,
    HIDDEN_LAYERS,
    Several,
    labels,
    layer,
)
from benchmarks.networks import Network, perceptron


def _of(flow: flows.Flow) -> Density:
    return layer(flow, flow.inverse, flow.forward)


def _base(base: distributions.BaseDistribution) -> Density:
    return Several(base, base.log_prob, lambda n: base(n)[0])


def _spline(tails: str, bound: float) -> Density:
    spline = PiecewiseRationalQuadraticCDF((FEATURES,), BINS, tails=tails, tail_bound=bound)
    return layer(spline, spline.forward, spline.inverse)


def _network(inputs: int, outputs: int) -> Network:
    return perceptron(inputs, outputs, HIDDEN, HIDDEN_LAYERS)


def _spline_coupling() -> Density:
    mask = torch.arange(FEATURES) < FEATURES // 2
    coupling = PiecewiseRationalQuadraticCoupling(mask, _network, num_bins=BINS, tails="linear", tail_bound=BOUND)
    return layer(coupling, coupling.forward, coupling.inverse)


def _inverse_autoregressive() -> Density:
    blocks = HIDDEN_LAYERS - 1  # behind a first hidden layer
    return _of(flows.MaskedAffineAutoregressive(FEATURES, HIDDEN, num_blocks=blocks, use_residual_blocks=False))


def _planar() -> Density:
    planar = flows.Planar((FEATURES,))
    return layer(planar, planar.forward)  # it has no inverse with tanh


def _by_class() -> Density:
    base, y = distributions.ClassCondDiagGaussian(FEATURES, CLASSES), labels()
    return Several(base, lambda z: base.log_prob(z, y[: len(z)]), lambda n: base(n, y[:n])[0])


LAYERS: Mapping[str, Callable[[], Density]] = {
    "actnorm": lambda: _of(flows.ActNorm((FEATURES,))),
    "linear, LU": lambda: _of(flows.InvertibleAffine(FEATURES, use_lu=True)),
    "linear, plain": lambda: _of(flows.InvertibleAffine(FEATURES, use_lu=False)),
    "permutation": lambda: _of(flows.Permute(FEATURES)),
    "spline": lambda: _spline("linear", BOUND),
    "circular spline": lambda: _spline("circular", math.pi),
    "affine coupling": lambda: _of(flows.AffineCouplingBlock(_network(FEATURES // 2, FEATURES))),
    "spline coupling": _spline_coupling,
    "inverse autoregressive": _inverse_autoregressive,
    "planar": _planar,
    "normal": lambda: _base(distributions.DiagGaussian(FEATURES)),
    "Gaussian mixture": lambda: _base(distributions.GaussianMixture(COMPONENTS, FEATURES)),
    "class-conditional normal": _by_class,
    "uniform": lambda: _base(Uniform(FEATURES, -BOUND, BOUND)),
}
