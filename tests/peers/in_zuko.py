"""flowkit's layers in zuko."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.peers.rows import (
    AFFINE,
    MIN_SHARE,
    MIN_SLOPE,
    SPLINE,
    Conditioner,
    Direction,
    Directions,
    Subject,
    carries,
    load_made,
    log_scale,
    mask,
)


@carries("zuko", "MonotonicAffineTransform", "actnorm-image", "actnorm-vector")
def actnorm(subject: Subject) -> Directions:
    from zuko.transforms import MonotonicAffineTransform

    scale = _unclip(subject.weight("log_scale"), 1e-3)
    return _zuko(MonotonicAffineTransform(subject.weight("bias"), scale, slope=1e-3))


@carries("zuko", "LULinearTransform, PermutationTransform", "conv1x1-lu-image", "conv1x1-lu-vector")
def lu_linear(subject: Subject) -> Directions:
    from zuko.transforms import ComposedTransform, LULinearTransform, PermutationTransform

    p, lower, upper, s = subject.lu  # L U = (L S) (S⁻¹ (U + S)): there U has the unit diagonal
    both = LULinearTransform((lower * s).tril() + (upper / s[:, None]).triu(1))
    return _zuko(ComposedTransform(both, PermutationTransform(p.argmax(1))))


@carries("zuko", "PermutationTransform", "permute-image", "permute-vector")
def permutation(subject: Subject) -> Directions:
    from zuko.transforms import PermutationTransform

    return _zuko(PermutationTransform(subject.weight("index")))


@carries("zuko", "CouplingTransform(MonotonicAffineTransform)", *AFFINE, "affine-context")
def affine_coupling(subject: Subject) -> Directions:
    return _zuko_coupling(subject, 2, _affine)


@carries("zuko", "MaskedAutoregressiveTransform(MonotonicAffineTransform)", "maf-vector", "maf-context")
def masked_affine(subject: Subject) -> Directions:
    return _zuko_autoregressive(subject, 2, _affine)


@carries("zuko", "MaskedAutoregressiveTransform(MonotonicRQSTransform)", "nsf-ar-vector")
def masked_spline(subject: Subject) -> Directions:
    return _zuko_autoregressive(subject, 11, _spline)


def _affine(theta: Tensor) -> Any:
    from zuko.transforms import MonotonicAffineTransform

    return MonotonicAffineTransform(theta[:, 1], _unclip(log_scale(theta[:, 0]), 1e-3), slope=1e-3)


@carries("zuko", "CouplingTransform(MonotonicRQSTransform)", *SPLINE)
def spline_coupling(subject: Subject) -> Directions:
    return _zuko_coupling(subject, 11, _spline)


def _spline(theta: Tensor) -> Any:
    from zuko.transforms import MonotonicRQSTransform

    theta = theta.movedim(1, -1)
    *parts, slopes = theta.split([4, 4, 3], -1)
    widths, heights = (MIN_SHARE / 4 + (1 - MIN_SHARE) * part.softmax(-1) for part in parts)
    slopes = MIN_SLOPE + F.softplus(slopes + math.log(math.expm1(1 - MIN_SLOPE)))
    # There softmax and exp of clipped logits: 4 brings the log-shares, -8.3 to 0, within the clip
    logits = [_unclip(share.log() + 4, 1e-9, times=2) for share in (widths, heights)]
    return MonotonicRQSTransform(*logits, _unclip(slopes.log(), 1e-9), bound=3.0, slope=1e-9)


def _zuko_autoregressive(subject: Subject, n_params: int, transform: Callable[[Tensor], Any]) -> Directions:
    """zuko's own network with flowkit's weights. θ is [batch, n_params, values]."""
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform

    d, context = subject.event[0], subject.context
    layer = MaskedAutoregressiveTransform(
        d,
        0 if context is None else context.shape[1],
        order=torch.arange(d) if subject.name == "maf-context" else torch.arange(d).flip(0),
        univariate=lambda theta: transform(theta.movedim(-1, 1)),
        shapes=[(n_params,)],
        hidden_features=[12, 12],
    )
    load_made(subject, [layer.hyper[index] for index in (0, 2, 4)], n_params)
    return _zuko(layer(context))


def _zuko_coupling(subject: Subject, n_params: int, transform: Callable[[Tensor], Any]) -> Directions:
    from zuko.transforms import CouplingTransform, DependentTransform

    network = Conditioner(subject, n_params, lambda theta: theta.movedim(2, -1))  # [batch, n_params, …, c]

    def meta(kept: Tensor) -> Any:
        return DependentTransform(transform(network(kept.movedim(-1, 1), subject.context)), 1)

    return _zuko(CouplingTransform(meta, mask(subject) == 0))


def _unclip(value: Tensor, slope: float, times: int = 1) -> Tensor:
    """What zuko's soft clip a / (1 + |times · a / log slope|) makes this value of."""
    return value / (1 - (times * value / math.log(slope)).abs())


def _zuko(transform: Any) -> Directions:
    """zuko's transforms work on the last dimension; positions are so many rows, their log-dets summed."""

    def direction(run: Any) -> Direction:
        def both(x: Tensor) -> tuple[Tensor, Tensor]:
            value, log_det = run.call_and_ladj(x.movedim(1, -1))
            return value.movedim(-1, 1), log_det.reshape(len(x), -1).sum(1)

        return both

    return direction(transform), direction(transform.inv)
