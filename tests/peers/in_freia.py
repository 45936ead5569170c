"""flowkit's layers in FrEIA."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tests.peers.rows import (
    AFFINE,
    Conditioner,
    Direction,
    Directions,
    Subject,
    carries,
)


@carries("FrEIA", "ActNorm", "actnorm-image", "actnorm-vector")
def actnorm(subject: Subject) -> Directions:
    from FrEIA.modules import ActNorm

    layer = ActNorm([subject.event])
    layer.scale.data, layer.bias.data = (_per_channel(subject, key) for key in ("log_scale", "bias"))
    layer.init_on_next_batch = False
    return _freia(layer)


@carries("FrEIA", "LearnedElementwiseScaling and its bias", "actnorm-image")
def elementwise_scaling(subject: Subject) -> Directions:
    from FrEIA.modules import LearnedElementwiseScaling

    layer = LearnedElementwiseScaling([subject.event])
    layer.s.data = _per_channel(subject, "log_scale").expand(1, *subject.event)
    forward, inverse = _freia(layer)
    bias = _per_channel(subject, "bias")
    return lambda x: (lambda z, log_det: (z + bias, log_det))(*forward(x)), lambda z: inverse(z - bias)


def _per_channel(subject: Subject, key: str) -> Tensor:
    return subject.weight(key).view(1, -1, *(1 for _ in subject.event[1:]))


@carries("FrEIA", "Fixed1x1Conv(M=W)", "conv1x1-plain-image")
def conv1x1_as_documented(subject: Subject) -> Directions:
    from FrEIA.modules import Fixed1x1Conv

    return _freia(Fixed1x1Conv([subject.event], M=subject.matrix))


@carries("FrEIA", "Fixed1x1Conv(M=W.T)", "conv1x1-lu-image", "conv1x1-plain-image")
def conv1x1_transposed(subject: Subject) -> Directions:
    from FrEIA.modules import Fixed1x1Conv

    return _freia(Fixed1x1Conv([subject.event], M=subject.matrix.T))


@carries("FrEIA", "FixedLinearTransform(M=W)", "conv1x1-lu-vector", "conv1x1-plain-vector")
def linear(subject: Subject) -> Directions:
    from FrEIA.modules import FixedLinearTransform

    return _freia(FixedLinearTransform([subject.event], M=subject.matrix))


@carries("FrEIA", "AffineCouplingOneSided", *AFFINE, "affine-context")
def affine_coupling(subject: Subject) -> Directions:
    from FrEIA.modules import AffineCouplingOneSided

    def arrange(theta: Tensor) -> Tensor:  # clamp · tanh(s), shift
        return torch.cat([theta[:, 0] / math.log(4), theta[:, 1]], 1)

    c = subject.event[0]
    layer = AffineCouplingOneSided(
        [subject.event],
        [] if subject.context is None else [tuple(subject.context.shape[1:])],
        subnet_constructor=lambda i, o: Conditioner(subject, 2, arrange),
        clamp=math.log(4),
        clamp_activation="TANH",
        split_len=c - c // 2,
    )
    return _freia(layer, subject.context)


def _freia(layer: Any, context: Tensor | None = None) -> Directions:
    given = {} if context is None else {"c": [context]}

    def direction(rev: bool) -> Direction:
        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            (value,), log_det = layer([x], rev=rev, **given)
            return value, log_det

        return run

    return direction(False), direction(True)
