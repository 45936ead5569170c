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
    HIDDEN,
    HIDDEN_LAYERS,
    Several,
    labels,
    layer,
)
from benchmarks.networks import Network, perceptron


def _of(d: int, flow: flows.Flow) -> Density:
    return layer(d, flow, flow.inverse, flow.forward)


def _base(base: distributions.BaseDistribution) -> Density:
    return Several(base, base.log_prob, lambda n: base(n)[0])


def _spline(d: int, tails: str, bound: float) -> Density:
    spline = PiecewiseRationalQuadraticCDF((d,), BINS, tails=tails, tail_bound=bound)
    return layer(d, spline, spline.forward, spline.inverse)


def _network(inputs: int, outputs: int) -> Network:
    return perceptron(inputs, outputs, HIDDEN, HIDDEN_LAYERS)


def _spline_coupling(d: int) -> Density:
    mask = torch.arange(d) < d // 2
    coupling = PiecewiseRationalQuadraticCoupling(mask, _network, num_bins=BINS, tails="linear", tail_bound=BOUND)
    return layer(d, coupling, coupling.forward, coupling.inverse)


def _inverse_autoregressive(d: int) -> Density:
    blocks = HIDDEN_LAYERS - 1  # behind a first hidden layer
    return _of(d, flows.MaskedAffineAutoregressive(d, HIDDEN, num_blocks=blocks, use_residual_blocks=False))


def _planar(d: int) -> Density:
    planar = flows.Planar((d,))
    return layer(d, planar, planar.forward)  # it has no inverse with tanh


def _by_class(d: int) -> Density:
    base, y = distributions.ClassCondDiagGaussian(d, CLASSES), labels(d)
    return Several(base, lambda z: base.log_prob(z, y[: len(z)]), lambda n: base(n, y[:n])[0])


LAYERS: Mapping[str, Callable[[int], Density]] = {
    "actnorm": lambda d: _of(d, flows.ActNorm((d,))),
    "linear, LU": lambda d: _of(d, flows.InvertibleAffine(d, use_lu=True)),
    "linear, plain": lambda d: _of(d, flows.InvertibleAffine(d, use_lu=False)),
    "permutation": lambda d: _of(d, flows.Permute(d)),
    "spline": lambda d: _spline(d, "linear", BOUND),
    "circular spline": lambda d: _spline(d, "circular", math.pi),
    "affine coupling": lambda d: _of(d, flows.AffineCouplingBlock(_network(d // 2, d))),
    "spline coupling": _spline_coupling,
    "inverse autoregressive": _inverse_autoregressive,
    "planar": _planar,
    "normal": lambda d: _base(distributions.DiagGaussian(d)),
    "Gaussian mixture": lambda d: _base(distributions.GaussianMixture(COMPONENTS, d)),
    "class-conditional normal": _by_class,
    "uniform": lambda d: _base(Uniform(d, -BOUND, BOUND)),
}
