"""The coupling networks that all contenders share."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Network(nn.Sequential):
    """A sequence that takes, and ignores, the context that nflows passes."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(x)


def convolutional(inputs: int, outputs: int, hidden: int) -> Network:
    """conv 3×3, ReLU, conv 1×1, ReLU, conv 3×3, which is 0 at the start."""
    first, middle = nn.Conv2d(inputs, hidden, 3, padding=1), nn.Conv2d(hidden, hidden, 1)
    last = _zero(nn.Conv2d(hidden, outputs, 3, padding=1))
    return Network(first, nn.ReLU(inplace=True), middle, nn.ReLU(inplace=True), last)


def perceptron(inputs: int, outputs: int, hidden: int, layers: int) -> Network:
    """Linear and ReLU, ``layers`` times, then a linear layer that is 0 at the start."""
    widths = pairwise([inputs] + [hidden] * layers)
    layers_ = [layer for i, o in widths for layer in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    return Network(*layers_, _zero(nn.Linear(hidden, outputs)))


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
