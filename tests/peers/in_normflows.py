"""flowkit's layers in normflows.

Its layers run latent -> data; as a bijection of one tensor, whichever of a layer's directions fits will do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.peers.rows import (
    AFFINE,
    SIGMOID,
    SPLINE,
    Conditioner,
    Direction,
    Directions,
    Subject,
    carries,
    channels_last,
    log_scale,
    piecewise,
)


@carries("normflows", "ActNorm", "actnorm-image", "actnorm-vector")
def actnorm(subject: Subject) -> Directions:
    layer = _normflows_actnorm(subject)
    return layer.forward, layer.inverse


@carries("normflows", "NormalizingFlow([ActNorm]) with torch's default dtype", "actnorm-image")
def flow_of_actnorm(subject: Subject) -> Directions:
    import normflows

    flow = normflows.NormalizingFlow(None, [_normflows_actnorm(subject)])
    return _in_default_precision(flow.forward_and_log_det), _in_default_precision(flow.inverse_and_log_det)


def _normflows_actnorm(subject: Subject) -> Any:
    from normflows.flows import ActNorm

    shape = (subject.event[0], *(1 for _ in subject.event[1:]))
    layer = ActNorm(shape)
    layer.s.data, layer.t.data = subject.weight("log_scale").view(1, *shape), subject.weight("bias").view(1, *shape)
    layer.data_dep_init_done = torch.tensor(1.0)
    return layer


@carries("normflows", "Invertible1x1Conv(use_lu=True)", "conv1x1-lu-image")
def conv1x1_lu(subject: Subject) -> Directions:
    from normflows.flows import Invertible1x1Conv

    p, lower, upper, s = subject.lu
    layer = Invertible1x1Conv(len(s), use_lu=True)
    layer.P, layer.sign_S = p, s.sign()
    layer.L.data, layer.U.data, layer.log_S.data = lower, upper, s.abs().log()
    return layer.inverse, layer.forward


@carries("normflows", "Invertible1x1Conv(use_lu=False)", "conv1x1-plain-image")
def conv1x1_plain(subject: Subject) -> Directions:
    from normflows.flows import Invertible1x1Conv

    layer = Invertible1x1Conv(subject.event[0], use_lu=False)
    layer.W.data = subject.matrix
    return layer.inverse, layer.forward


@carries("normflows", "InvertibleAffine", "conv1x1-plain-vector", "conv1x1-lu-vector")
def affine(subject: Subject) -> Directions:
    layer = _normflows_affine(subject)
    return layer.inverse, layer.forward


@carries("normflows", "InvertibleAffine on images, channels last", "conv1x1-plain-image")
def affine_on_images(subject: Subject) -> Directions:
    layer = _normflows_affine(subject)
    return channels_last(layer.inverse), channels_last(layer.forward)


def _normflows_affine(subject: Subject) -> Any:
    from normflows.flows import InvertibleAffine

    layer = InvertibleAffine(subject.event[0], use_lu=False)
    layer.W.data = subject.matrix.T  # v W there
    return layer


@carries("normflows", "AffineCouplingBlock(scale_map='exp')", *AFFINE)
def coupling_exp(subject: Subject) -> Directions:
    from normflows.flows import AffineCouplingBlock

    def arrange(theta: Tensor) -> Tensor:  # shift and log s by turns
        return torch.stack([theta[:, 1], log_scale(theta[:, 0])], 2).flatten(1, 2)

    layer = AffineCouplingBlock(Conditioner(subject, 2, arrange), scale_map="exp")
    return layer.forward, layer.inverse


@carries("normflows", "AffineCouplingBlock(scale_map='sigmoid')", *SIGMOID)
def coupling_sigmoid(subject: Subject) -> Directions:
    from normflows.flows import AffineCouplingBlock

    def arrange(theta: Tensor) -> Tensor:  # s (x - shift), s = sigmoid(t + 2), in its direction data -> latent
        return torch.stack([-theta[:, 1] / torch.sigmoid(theta[:, 0] + 2), theta[:, 0]], 2).flatten(1, 2)

    layer = AffineCouplingBlock(Conditioner(subject, 2, arrange), scale_map="sigmoid")
    return layer.inverse, layer.forward


@carries("normflows", "PiecewiseRationalQuadraticCoupling", *SPLINE)
def spline_coupling(subject: Subject) -> Directions:
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    return piecewise(PiecewiseRationalQuadraticCoupling, subject)


@carries("normflows", "Planar", "planar-image", "planar-vector")
def planar(subject: Subject) -> Directions:
    from normflows.flows import Planar

    w, u, b = (subject.weight(name) for name in ("w", "u", "b"))
    layer = Planar(subject.event, u=u[None], w=w[None], b=b)
    return layer.forward, None  # without an inverse, as here


def _in_default_precision(direction: Direction) -> Direction:
    """fp64 data, torch's default dtype as a user has it."""

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        torch.set_default_dtype(torch.float32)
        try:
            return direction(x)
        finally:
            torch.set_default_dtype(torch.float64)

    return run
