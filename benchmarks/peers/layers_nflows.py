"""Single layers, couplings and base distributions of nflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from nflows import transforms
from nflows.distributions.normal import DiagonalNormal
from nflows.transforms.nonlinearities import PiecewiseRationalQuadraticCDF

from benchmarks.contender import Density
from benchmarks.layers import BINS, BOUND, FEATURES, HIDDEN, HIDDEN_LAYERS, PERMUTATION, Several, layer
from benchmarks.networks import Network, perceptron


def _of(transform: transforms.Transform) -> Density:
    return layer(transform, transform.forward, transform.inverse)


def _network(inputs: int, outputs: int) -> Network:
    return perceptron(inputs, outputs, HIDDEN, HIDDEN_LAYERS)


def _inverse_autoregressive() -> Density:
    blocks = HIDDEN_LAYERS - 1  # behind a first hidden layer
    masked = transforms.MaskedAffineAutoregressiveTransform(
        FEATURES, HIDDEN, num_blocks=blocks, use_residual_blocks=False
    )
    return _of(transforms.InverseTransform(masked))


def _normal() -> Density:
    base = DiagonalNormal([FEATURES])
    return Several(base, base.log_prob)  # its sample raises NotImplementedError


MASK = [int(i < FEATURES // 2) for i in range(FEATURES)]
"""1 for each value that a coupling transforms."""

LAYERS: Mapping[str, Callable[[], Density]] = {
    "actnorm": lambda: _of(transforms.ActNorm(FEATURES)),
    "linear, LU": lambda: _of(transforms.LULinear(FEATURES)),
    "linear, plain": lambda: _of(transforms.NaiveLinear(FEATURES)),
    "Householder": lambda: _of(transforms.HouseholderSequence(FEATURES, FEATURES)),
    "Householder, two reflections": lambda: _of(transforms.HouseholderSequence(FEATURES, 2)),
    "permutation": lambda: _of(transforms.Permutation(torch.tensor(PERMUTATION))),
    "spline": lambda: _of(PiecewiseRationalQuadraticCDF((FEATURES,), BINS, tails="linear", tail_bound=BOUND)),
    "affine coupling": lambda: _of(transforms.AffineCouplingTransform(MASK, _network)),
    "spline coupling": lambda: _of(
        transforms.PiecewiseRationalQuadraticCouplingTransform(
            MASK, _network, num_bins=BINS, tails="linear", tail_bound=BOUND
        )
    ),
    "inverse autoregressive": _inverse_autoregressive,
    "logit": lambda: _of(transforms.Logit()),
    "sigmoid": lambda: _of(transforms.Sigmoid()),
    "normal": _normal,
}
