"""Single layers and base distributions of nflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from nflows import transforms
from nflows.distributions.normal import DiagonalNormal
from nflows.transforms.nonlinearities import PiecewiseRationalQuadraticCDF

from benchmarks.contender import Density
from benchmarks.layers import BINS, BOUND, FEATURES, PERMUTATION, Several, layer


def _of(transform: transforms.Transform) -> Density:
    return layer(transform, transform.forward, transform.inverse)


def _normal() -> Density:
    base = DiagonalNormal([FEATURES])
    return Several(base, base.log_prob)  # its sample raises NotImplementedError


LAYERS: Mapping[str, Callable[[], Density]] = {
    "actnorm": lambda: _of(transforms.ActNorm(FEATURES)),
    "linear, LU": lambda: _of(transforms.LULinear(FEATURES)),
    "linear, plain": lambda: _of(transforms.NaiveLinear(FEATURES)),
    "Householder": lambda: _of(transforms.HouseholderSequence(FEATURES, FEATURES)),
    "permutation": lambda: _of(transforms.Permutation(torch.tensor(PERMUTATION))),
    "spline": lambda: _of(PiecewiseRationalQuadraticCDF((FEATURES,), BINS, tails="linear", tail_bound=BOUND)),
    "logit": lambda: _of(transforms.Logit()),
    "sigmoid": lambda: _of(transforms.Sigmoid()),
    "normal": _normal,
}
