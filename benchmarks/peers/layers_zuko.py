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
    FEATURES,
    HIDDEN,
    HIDDEN_LAYERS,
    PERMUTATION,
    Direction,
    Several,
    layer,
)


def _of(make: Callable[..., Any], *parameters: Tensor, dimensions: int = 0, **options: Any) -> Density:
    """A transform that is made at each call, as in zuko's flows. ``dimensions`` are those that it works on at once."""
    return _lazy(UnconditionalTransform(make, *parameters, **options), dimensions)


def _lazy(lazy: LazyTransform, dimensions: int = 1) -> Density:
    def direction(transform: Callable[[], Any]) -> Direction:
        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            y, log_det = transform().call_and_ladj(x)
            return y, log_det if dimensions else log_det.sum(1)

        return run

    return layer(lazy, direction(lazy), direction(lambda: lazy().inv))


def _coupling(**options: Any) -> Density:
    mask = torch.arange(FEATURES) >= FEATURES // 2
    return _lazy(GeneralCouplingTransform(FEATURES, mask=mask, hidden_features=WIDTHS, **options))


def _inverse_autoregressive() -> Density:
    masked = MaskedAutoregressiveTransform(FEATURES, hidden_features=WIDTHS)
    return _lazy(masked.inv)


def _base(lazy: nn.Module) -> Density:
    return Several(lazy, lambda z: lazy().log_prob(z), lambda n: lazy().sample((n,)))


def _spline(transform: Callable[..., Any], **options: Any) -> Density:
    """The circular one is such a spline, and a shift around the circle."""
    return _of(transform, *(torch.randn(FEATURES, size) for size in (BINS, BINS, BINS - 1)), **options)


def _gmm() -> Density:
    return _base(GMM(FEATURES, components=COMPONENTS, covariance_type="diagonal"))


WIDTHS = [HIDDEN] * HIDDEN_LAYERS
SPLINE = {
    "univariate": partial(transforms.MonotonicRQSTransform, bound=BOUND),
    "shapes": [(BINS,), (BINS,), (BINS - 1,)],
}
LAYERS: Mapping[str, Callable[[], Density]] = {
    "linear, LU": lambda: _of(transforms.LULinearTransform, torch.eye(FEATURES), dimensions=1),
    "permutation": lambda: _of(partial(transforms.PermutationTransform, torch.tensor(PERMUTATION)), dimensions=1),
    "affine": lambda: _of(transforms.MonotonicAffineTransform, torch.zeros(FEATURES), torch.zeros(FEATURES)),
    "spline": lambda: _spline(transforms.MonotonicRQSTransform, bound=BOUND),
    "circular spline": lambda: _spline(CircularRQSTransform),
    "affine coupling": _coupling,
    "spline coupling": lambda: _coupling(**SPLINE),
    "inverse autoregressive": _inverse_autoregressive,
    "sigmoid": lambda: _of(of_torch.SigmoidTransform),
    "exp": lambda: _of(of_torch.ExpTransform),
    "softplus": lambda: _of(of_torch.SoftplusTransform),
    "normal": lambda: _base(UnconditionalDistribution(DiagNormal, torch.zeros(FEATURES), torch.ones(FEATURES))),
    "Gaussian mixture": _gmm,
    "uniform": lambda: _base(
        UnconditionalDistribution(BoxUniform, -BOUND * torch.ones(FEATURES), BOUND * torch.ones(FEATURES), buffer=True)
    ),
}
