"""Single layers, couplings and base distributions of zuko."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import transforms as of_torch
from zuko import transforms
from zuko.distributions import BoxUniform, DiagNormal
from zuko.flows import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.spline import CircularRQSTransform
from zuko.lazy import LazyTransform, UnconditionalDistribution, UnconditionalTransform
from zuko.mixtures import GMM

from benchmarks.contender import Density
from benchmarks.layers import (
    BINS,
    BOUND,
    COMPONENTS,
    HIDDEN,
    HIDDEN_LAYERS,
    Direction,
    Several,
    layer,
    permutation,
)


def _of(d: int, make: Callable[..., Any], *parameters: Tensor, dimensions: int = 0, **options: Any) -> Density:
    """A transform that is made at each call, as in zuko's flows. ``dimensions`` are those that it works on at once."""
    return _lazy(d, UnconditionalTransform(make, *parameters, **options), dimensions)


def _lazy(d: int, lazy: LazyTransform, dimensions: int = 1) -> Density:
    def direction(transform: Callable[[], Any]) -> Direction:
        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            y, log_det = transform().call_and_ladj(x)
            return y, log_det if dimensions else log_det.sum(1)

        return run

    return layer(d, lazy, direction(lazy), direction(lambda: lazy().inv))


def _coupling(d: int, **options: Any) -> Density:
    mask = torch.arange(d) >= d // 2
    return _lazy(d, GeneralCouplingTransform(d, mask=mask, hidden_features=WIDTHS, **options))


def _inverse_autoregressive(d: int) -> Density:
    masked = MaskedAutoregressiveTransform(d, hidden_features=WIDTHS)
    return _lazy(d, masked.inv)


def _base(lazy: nn.Module) -> Density:
    return Several(lazy, lambda z: lazy().log_prob(z), lambda n: lazy().sample((n,)))


def _spline(d: int, transform: Callable[..., Any], **options: Any) -> Density:
    """The circular one is such a spline, and a shift around the circle."""
    return _of(d, transform, *(torch.randn(d, size) for size in (BINS, BINS, BINS - 1)), **options)


def _gmm(d: int) -> Density:
    return _base(GMM(d, components=COMPONENTS, covariance_type="diagonal"))


WIDTHS = [HIDDEN] * HIDDEN_LAYERS
SPLINE = {
    "univariate": partial(transforms.MonotonicRQSTransform, bound=BOUND),
    "shapes": [(BINS,), (BINS,), (BINS - 1,)],
}
LAYERS: Mapping[str, Callable[[int], Density]] = {
    "linear, LU": lambda d: _of(d, transforms.LULinearTransform, torch.eye(d), dimensions=1),
    "permutation": lambda d: _of(
        d, partial(transforms.PermutationTransform, torch.tensor(permutation(d))), dimensions=1
    ),
    "affine": lambda d: _of(d, transforms.MonotonicAffineTransform, torch.zeros(d), torch.zeros(d)),
    "spline": lambda d: _spline(d, transforms.MonotonicRQSTransform, bound=BOUND),
    "circular spline": lambda d: _spline(d, CircularRQSTransform),
    "affine coupling": _coupling,
    "spline coupling": lambda d: _coupling(d, **SPLINE),
    "inverse autoregressive": _inverse_autoregressive,
    "sigmoid": lambda d: _of(d, of_torch.SigmoidTransform),
    "exp": lambda d: _of(d, of_torch.ExpTransform),
    "softplus": lambda d: _of(d, of_torch.SoftplusTransform),
    "normal": lambda d: _base(UnconditionalDistribution(DiagNormal, torch.zeros(d), torch.ones(d))),
    "Gaussian mixture": _gmm,
    "uniform": lambda d: _base(
        UnconditionalDistribution(BoxUniform, -BOUND * torch.ones(d), BOUND * torch.ones(d), buffer=True)
    ),
}
