"""How far fp64 itself carries a flow's inverse from x, and its log-det from what it is: the yardsticks for flows that
lose digits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.flow import Flow
from flowkit.flow.composition import Layer
from flowkit.flow.factor_out import FactorOut

EPS = torch.finfo(torch.float64).eps


def rounding(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """ε Σ_i ‖∂x/∂h_i‖_∞ max|h_i|, for one event x [1, *event] and its embedded context, h_i being what layer i gives.

    If each h_i is off by ε of its largest value and nothing else happens, inverse(forward(x)) is off by this much, to
    first order. The layers are taken one by one, so that what merging adds to it is not excused.
    """
    total, h = 0.0, x
    for index, layer in enumerate(flow.layers):
        with torch.no_grad():
            h = layer.split(h)[0] if isinstance(layer, FactorOut) else layer.forward_and_log_det(h, context)[0]
        left = _left(flow.layers[: index + 1], x, context)
        jacobian = jacrev(lambda v, n=index + 1, left=left: _back(flow.layers[:n], v, left, context))(h)
        norm = jacobian.reshape(x.numel(), h.numel()).abs().sum(1).max().item()
        total += EPS * norm * h.abs().max().item()
    return total


def log_det_rounding(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """ε Σ_i ‖∂ log|det| / ∂h_i‖_1 max|h_i|: the same for the flow's log-det, of what the layers behind i add to it."""
    total, h = 0.0, x
    for index, layer in enumerate(flow.layers):
        with torch.no_grad():
            h = layer.split(h)[0] if isinstance(layer, FactorOut) else layer.forward_and_log_det(h, context)[0]
        gradient = jacrev(lambda v, n=index + 1: _log_det(flow.layers[n:], v, context))(h)
        total += EPS * gradient.abs().sum().item() * h.abs().max().item()
    return total


def _log_det(layers: Sequence[Layer], h: Tensor, context: Tensor | None) -> Tensor:
    total = h.sum() * 0
    for layer in layers:
        if isinstance(layer, FactorOut):
            h, _ = layer.split(h)
        else:
            h, log_det = layer.forward_and_log_det(h, context)
            total = total + log_det.sum()
    return total


@torch.no_grad()
def _left(layers: Sequence[Layer], h: Tensor, context: Tensor | None) -> list[Tensor]:
    """What has left at the factor-outs among these layers."""
    left = []
    for layer in layers:
        if isinstance(layer, FactorOut):
            h, z = layer.split(h)
            left.append(z)
        else:
            h, _ = layer.forward_and_log_det(h, context)
    return left


def _back(layers: Sequence[Layer], h: Tensor, left: list[Tensor], context: Tensor | None) -> Tensor:
    left = list(left)
    for layer in reversed(layers):
        h = layer.merge(h, left.pop()) if isinstance(layer, FactorOut) else layer.inverse_and_log_det(h, context)[0]
    return h
