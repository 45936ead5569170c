"""flowkit's layers in nflows."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from tests.peers.rows import (
    SIGMOID,
    SPLINE,
    Conditioner,
    Directions,
    Subject,
    arranged,
    carries,
    channels_last,
    load_made,
    mask,
    piecewise,
)


@carries("nflows", "ActNorm", "actnorm-image", "actnorm-vector")
def actnorm(subject: Subject) -> Directions:
    from nflows.transforms import ActNorm

    layer = ActNorm(subject.event[0]).eval()
    layer.log_scale.data, layer.shift.data = subject.weight("log_scale"), subject.weight("bias")
    return layer.forward, layer.inverse


@carries("nflows", "OneByOneConvolution", "conv1x1-plain-image")
def one_by_one_convolution(subject: Subject) -> Directions:
    from nflows.transforms import OneByOneConvolution

    order, *factors = _nflows_factors(subject.matrix)
    layer = OneByOneConvolution(subject.event[0])
    layer.permutation._permutation = order
    _set_nflows_factors(layer, *factors)
    return layer.forward, layer.inverse


@carries("nflows", "LULinear", "conv1x1-plain-vector")
def lu_linear(subject: Subject) -> Directions:
    from nflows.transforms import CompositeTransform, LULinear, Permutation

    order, *factors = _nflows_factors(subject.matrix)
    layer = LULinear(subject.event[0])
    _set_nflows_factors(layer, *factors)
    composed = CompositeTransform([Permutation(order), layer])
    return composed.forward, composed.inverse


@carries("nflows", "LULinear on images, channels last", "conv1x1-plain-image")
def lu_linear_on_images(subject: Subject) -> Directions:
    from nflows.transforms import LULinear

    order, *factors = _nflows_factors(subject.matrix)
    layer = LULinear(subject.event[0])
    _set_nflows_factors(layer, *factors)
    return channels_last(lambda v: layer.forward(v[..., order])), None  # its inverse refuses images


def _nflows_factors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An order of the columns, L and U: W[:, order] = L U with diag U > 0, which is all that nflows can say."""
    for order in itertools.permutations(range(len(matrix))):
        lower, upper = torch.eye(len(matrix)), matrix[:, order].clone()
        for k in range(len(matrix)):
            lower[k + 1 :, k] = upper[k + 1 :, k] / upper[k, k]
            upper[k + 1 :] -= torch.outer(lower[k + 1 :, k], upper[k])
        if upper.diagonal().min() > 0.01:
            return torch.tensor(order), lower, upper
    raise ValueError("no order of the columns gives positive pivots")


def _set_nflows_factors(layer: Any, lower: Tensor, upper: Tensor) -> None:
    layer.lower_entries.data = lower[layer.lower_indices]
    layer.upper_entries.data = upper[layer.upper_indices]
    layer.unconstrained_upper_diag.data = (upper.diagonal() - layer.eps).expm1().log()  # softplus⁻¹


@carries("nflows", "HouseholderSequence", "householder-vector")
def householder(subject: Subject) -> Directions:
    from nflows.transforms import HouseholderSequence

    vectors = subject.weight("v").flip(0)  # its first reflection is the one that is applied first
    layer = HouseholderSequence(subject.event[0], len(vectors))
    layer.q_vectors.data = vectors
    return layer.forward, layer.inverse


@carries("nflows", "Permutation", "permute-image", "permute-vector")
def permutation(subject: Subject) -> Directions:
    from nflows.transforms import Permutation

    layer = Permutation(subject.weight("index"))
    return layer.forward, layer.inverse


@carries("nflows", "AffineCouplingTransform", *SIGMOID)
def affine_coupling(subject: Subject) -> Directions:
    from nflows.transforms import AffineCouplingTransform

    def arrange(theta: Tensor) -> Tensor:  # s = sigmoid(t + 2) + 1e-3 there
        t = torch.logit(torch.sigmoid(theta[:, 0] + 2) - 1e-3) - 2
        return torch.cat([theta[:, 1], t], 1)

    layer = AffineCouplingTransform(mask(subject), lambda i, o: Conditioner(subject, 2, arrange))
    return layer.forward, layer.inverse


@carries("nflows", "MaskedAffineAutoregressiveTransform", "maf-sigmoid-vector")
def masked_affine(subject: Subject) -> Directions:
    from nflows.transforms import MaskedAffineAutoregressiveTransform

    d = subject.event[0]
    layer = MaskedAffineAutoregressiveTransform(d, 12, num_blocks=1, use_residual_blocks=False)
    made = layer.autoregressive_net
    load_made(subject, [made.initial_layer, made.blocks[0].linear, made.final_layer], 2)

    def arranged(x: Tensor, context: Tensor | None = None) -> Tensor:  # s = softplus(t) + 1e-3 there
        t, shift = made(x, context).unflatten(1, (d, 2)).unbind(2)
        return torch.stack([(torch.sigmoid(t + 2) - 1e-3).expm1().log(), shift], 2).flatten(1)

    layer.__dict__["autoregressive_net"] = arranged  # in front of the module of this name
    return layer.forward, layer.inverse


@carries("nflows", "PiecewiseRationalQuadraticCouplingTransform", *SPLINE)
def spline_coupling(subject: Subject) -> Directions:
    from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform

    return piecewise(PiecewiseRationalQuadraticCouplingTransform, subject)


@carries("nflows", "PiecewiseRationalQuadraticCouplingTransform(apply_unconditional_transform=True)", "spline-kept")
def spline_coupling_with_kept(subject: Subject) -> Directions:
    from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform

    def make(*args: Any, **options: Any) -> Any:
        layer = PiecewiseRationalQuadraticCouplingTransform(*args, apply_unconditional_transform=True, **options)
        theta = arranged(subject.weight("kept.theta")[None])[0]  # [11, kept]
        parts = theta.transpose(0, 1).split([4, 4, 3], 1)
        names = ("unnormalized_widths", "unnormalized_heights", "unnormalized_derivatives")
        for name, part in zip(names, parts, strict=True):
            getattr(layer.unconditional_transform, name).data = part.contiguous()
        return layer

    return piecewise(make, subject)
