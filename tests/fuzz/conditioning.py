"""How far fp64 itself carries what a flow gives from what it should be: the yardstick for flows that lose digits.

ε Σ_i ‖∂q/∂h_i‖_∞ max|h_i| for a quantity q, h_i being what layer i gives, is by how much q is off, to first order, if
each h_i is off by ε of its largest value and nothing else happens. The layers are taken one by one, so that what
merging adds to it is not excused. Of a batch it is the worst of its events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.bijectors.multiscale import FactorOut, Layer
from flowkit.flow import Flow

EPS = torch.finfo(torch.float64).eps

Rounding = Callable[[Flow, Tensor, Tensor | None], float]
"""(flow, events, their embedded contexts) -> by how much some quantity may be off."""

Quantity = Callable[[int, Tensor], Tensor]
"""(n, what the first n layers give) -> q."""


def of_inverse(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """Of x = inverse(latents), x [batch, *event] with its embedded context."""

    def quantity(one: Tensor, c: Tensor | None) -> Quantity:
        return lambda n, h: _back(flow.layers[:n], h, _left(flow.layers[:n], one, c), c)[0]

    return _worst(flow, x, context, quantity)


def of_latents(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """Of the latents of x."""
    return _worst(flow, x, context, lambda _, c: lambda n, h: torch.cat(_ahead(flow.layers[n:], h, c)[0], 1))


def of_log_det(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """Of log|det| at x."""
    return _worst(flow, x, context, lambda _, c: lambda n, h: _ahead(flow.layers[n:], h, c)[1])


def of_inverse_log_det(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """Of log|det| of the inverse at the latents of x."""

    def quantity(one: Tensor, c: Tensor | None) -> Quantity:
        return lambda n, h: _back(flow.layers[:n], h, _left(flow.layers[:n], one, c), c)[1]

    return _worst(flow, x, context, quantity)


def _worst(flow: Flow, x: Tensor, context: Tensor | None, of: Callable[[Tensor, Tensor | None], Quantity]) -> float:
    """NaN if it is NaN for any event."""
    contexts = [None] * len(x) if context is None else context.split(1)
    sums = [_carried(flow, one, c, of(one, c)) for one, c in zip(x.split(1), contexts, strict=True)]
    return torch.tensor(sums).max().item()


def _carried(flow: Flow, x: Tensor, context: Tensor | None, quantity: Quantity) -> float:
    total, h = 0.0, x
    for index, layer in enumerate(flow.layers):
        with torch.no_grad():
            h = layer.take_out(h)[0] if isinstance(layer, FactorOut) else layer.forward_and_log_det(h, context)[0]
        jacobian = jacrev(lambda v, n=index + 1: quantity(n, v).flatten())(h)
        norm = jacobian.reshape(len(jacobian), h.numel()).abs().sum(1).max().item()
        total += EPS * norm * h.abs().max().item()
    return total


def _ahead(layers: Sequence[Layer], h: Tensor, context: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """The latents, flattened, and log|det|, of what goes through these layers."""
    latents, total = [], h.flatten(1).sum(1) * 0
    for layer in layers:
        if isinstance(layer, FactorOut):
            h, z = layer.take_out(h)
            latents.append(z.flatten(1))
        else:
            h, log_det = layer.forward_and_log_det(h, context)
            total = total + log_det
    return [*latents, h.flatten(1)], total


@torch.no_grad()
def _left(layers: Sequence[Layer], h: Tensor, context: Tensor | None) -> list[Tensor]:
    """What has left at the factor-outs among these layers."""
    left = []
    for layer in layers:
        if isinstance(layer, FactorOut):
            h, z = layer.take_out(h)
            left.append(z)
        else:
            h, _ = layer.forward_and_log_det(h, context)
    return left


def _back(layers: Sequence[Layer], h: Tensor, left: list[Tensor], context: Tensor | None) -> tuple[Tensor, Tensor]:
    """What goes into these layers for what comes out of them, and log|det| of that map."""
    total = h.flatten(1).sum(1) * 0
    for layer in reversed(layers):
        if isinstance(layer, FactorOut):
            h = layer.put_back(h, left.pop())
        else:
            h, log_det = layer.inverse_and_log_det(h, context)
            total = total + log_det
    return h, total
