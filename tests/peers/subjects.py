"""What the peers are asked about: flowkit's layers, their weights, and what flowkit and autodiff say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.bijectors import Bijector
from flowkit.testing import BijectorSubject
from flowkit_autoregressive.orders import Natural, Reversed
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.householder import Householder
from flowkit_glow.permute import Permute
from flowkit_residual.planar import Planar
from flowkit_spline.rational_quadratic import RationalQuadratic
from tests.plugins.cases import autoregressive, coupling

IMAGE, VECTOR = (4, 3, 2), (5,)
CONVS = {"hidden": 6, "normalization": "none"}

SUBJECTS: dict[str, Callable[[], Bijector]] = {
    "actnorm-image": lambda: ActNorm(IMAGE),
    "actnorm-vector": lambda: ActNorm(VECTOR),
    "conv1x1-lu-image": lambda: Conv1x1(IMAGE, "lu"),
    "conv1x1-plain-image": lambda: Conv1x1(IMAGE, "plain"),
    "conv1x1-lu-vector": lambda: Conv1x1(VECTOR, "lu"),
    "conv1x1-plain-vector": lambda: Conv1x1(VECTOR, "plain"),
    "householder-vector": lambda: Householder(VECTOR, reflections=3),
    "permute-image": lambda: Permute(IMAGE, [2, 0, 3, 1]),
    "permute-vector": lambda: Permute(VECTOR, [1, 4, 0, 2, 3]),
    "affine-image": lambda: coupling(IMAGE, Affine(), **CONVS),
    "affine-vector": lambda: coupling(VECTOR, Affine()),
    "affine-context": lambda: coupling(VECTOR, Affine(), context=(3,)),
    "sigmoid-image": lambda: coupling(IMAGE, Affine("sigmoid"), **CONVS),
    "sigmoid-vector": lambda: coupling(VECTOR, Affine("sigmoid")),
    "spline-image": lambda: coupling(IMAGE, RationalQuadratic(bins=4), **CONVS),
    "spline-vector": lambda: coupling(VECTOR, RationalQuadratic(bins=4)),
    "spline-context": lambda: coupling(VECTOR, RationalQuadratic(bins=4), context=(3,)),
    "spline-kept": lambda: coupling(VECTOR, RationalQuadratic(bins=4), kept=RationalQuadratic(bins=4)),
    "planar-image": lambda: Planar(IMAGE),
    "planar-vector": lambda: Planar(VECTOR),
    "maf-sigmoid-vector": lambda: autoregressive(Natural(VECTOR), Affine("sigmoid"), hidden=12),
    "maf-vector": lambda: autoregressive(Reversed(VECTOR), Affine(), hidden=12),
    "maf-context": lambda: autoregressive(Natural(VECTOR), Affine(), (3,), hidden=12),
    "nsf-ar-vector": lambda: autoregressive(Reversed(VECTOR), RationalQuadratic(bins=4), hidden=12),
}
CONTEXT = {"affine-context": (3,), "spline-context": (3,), "maf-context": (3,)}
SEED = 6
"""One whose convolutions nflows can express: its LU has positive pivots only, after some order of the columns."""


def write_subjects(path: Path) -> None:
    """One .npz of SUBJECT/NAME: x, context, z, log_det, inverse_log_det, the last two by autodiff too, the weights."""
    arrays = {f"{name}/{key}": value.numpy() for name in SUBJECTS for key, value in _record(name).items()}
    theta, x = steep_splines()
    np.savez(path, **arrays, **{"steep/theta": theta.squeeze(2).numpy(), "steep/x": x.squeeze(1).numpy()})


def steep_splines() -> tuple[Tensor, Tensor]:
    """θ [n, 23, 1] of eight bins with very flat and very steep ones side by side, and x [n, 1], in fp32."""
    generator = torch.Generator().manual_seed(0)
    theta = 10 * torch.randn(20_000, 23, 1, generator=generator)
    return theta, 6 * torch.rand(20_000, 1, generator=generator) - 3


def _record(name: str) -> dict[str, Tensor]:
    subject = BijectorSubject(SUBJECTS[name], CONTEXT.get(name), seed=SEED)
    layer = subject.module()
    forward = subject.calls(layer, 4, distance=1.5)[0]  # some of x is beyond the spline's bound
    x, context = (*forward.inputs, None)[:2]
    with torch.no_grad():
        z, log_det = layer.forward_and_log_det(x, context)
        record = {"x": x, "z": z, "log_det": log_det}
        record["autodiff/log_det"] = _autodiff(layer.forward_and_log_det, x, context)
        if layer.directions == "both":
            record["inverse_log_det"] = layer.inverse_and_log_det(z, context)[1]
            record["autodiff/inverse_log_det"] = _autodiff(layer.inverse_and_log_det, z, context)
    if context is not None:
        record["context"] = context
    return record | {f"weights/{key}": value for key, value in layer.state_dict().items()}


def _autodiff(direction: Callable[..., tuple[Tensor, Tensor]], x: Tensor, context: Tensor | None) -> Tensor:
    """log|det| of the Jacobian of each row, [batch]."""
    rows = []
    for i in range(len(x)):
        c = None if context is None else context[i : i + 1]
        jacobian = jacrev(lambda v, c=c: direction(v[None], c)[0].flatten())(x[i])
        rows.append(torch.linalg.slogdet(jacobian.flatten(1)).logabsdet)
    return torch.stack(rows)
