"""Single layers, couplings and base distributions of nflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from nflows import transforms
from nflows.distributions.normal import DiagonalNormal
from nflows.transforms.nonlinearities import PiecewiseRationalQuadraticCDF

from benchmarks.contender import Density
from benchmarks.layers import BINS, BOUND, HIDDEN, HIDDEN_LAYERS, Several, layer, permutation
from benchmarks.networks import Network, perceptron


def _of(d: int, transform: transforms.Transform) -> Density:
    return layer(d, transform, transform.forward, transform.inverse)


def _network(inputs: int, outputs: int) -> Network:
    return perceptron(inputs, outputs, HIDDEN, HIDDEN_LAYERS)


def _inverse_autoregressive(d: int) -> Density:
    blocks = HIDDEN_LAYERS - 1  # behind a first hidden layer
    masked = transforms.MaskedAffineAutoregressiveTransform(d, HIDDEN, num_blocks=blocks, use_residual_blocks=False)
    return _of(d, transforms.InverseTransform(masked))


def _normal(d: int) -> Density:
    base = DiagonalNormal([d])
    return Several(base, base.log_prob)  # its sample raises NotImplementedError


def _mask(d: int) -> list[int]:
    """1 for each value that a coupling transforms."""
    return [int(i < d // 2) for i in range(d)]


LAYERS: Mapping[str, Callable[[int], Density]] = {
    "actnorm": lambda d: _of(d, transforms.ActNorm(d)),
    "linear, LU": lambda d: _of(d, transforms.LULinear(d)),
    "linear, plain": lambda d: _of(d, transforms.NaiveLinear(d)),
    "Householder": lambda d: _of(d, transforms.HouseholderSequence(d, d)),
    "Householder, two reflections": lambda d: _of(d, transforms.HouseholderSequence(d, 2)),
    "permutation": lambda d: _of(d, transforms.Permutation(torch.tensor(permutation(d)))),
    "spline": lambda d: _of(d, PiecewiseRationalQuadraticCDF((d,), BINS, tails="linear", tail_bound=BOUND)),
    "affine coupling": lambda d: _of(d, transforms.AffineCouplingTransform(_mask(d), _network)),
    "spline coupling": lambda d: _of(
        d,
        transforms.PiecewiseRationalQuadraticCouplingTransform(
            _mask(d), _network, num_bins=BINS, tails="linear", tail_bound=BOUND
        ),
    ),
    "inverse autoregressive": _inverse_autoregressive,
    "logit": lambda d: _of(d, transforms.Logit()),
    "sigmoid": lambda d: _of(d, transforms.Sigmoid()),
    "normal": _normal,
}
