"""Glow's conditioner for images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Conditioner
from flowkit.plugin import Shape
from flowkit_glow.actnorm import normalizing


class ConvNet(Conditioner):
    """conv 3×3, norm, ReLU, conv 1×1, norm, ReLU, conv 3×3, the last one zero at the start.

    As in Kingma & Dhariwal 2018, §3.3, and its published code. A context is flattened and added, by a linear map
    that starts at zero, to what the first convolution gives. With ``hidden=0`` the last convolution is alone; with
    ``normalization="none"`` all are plain ones.
    """

    def __init__(
        self,
        kept_shape: Shape,
        params_shape: Shape,
        context_shape: Shape | None = None,
        hidden: int = 128,
        normalization: str = "actnorm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden, self.normalization, self.dropout = hidden, normalization, dropout
        self.params_shape = tuple(params_shape)
        c, out = kept_shape[0], math.prod(self.params_shape[:2])
        conv, last = (NormedConv, ZeroScaledConv) if normalization == "actnorm" else (nn.Conv2d, nn.Conv2d)
        hidden_convs = [conv(c, hidden, 3, padding=1), conv(hidden, hidden, 1)] if hidden else []
        self.convs = nn.ModuleList([*hidden_convs, _zeroed(last(hidden or c, out, 3, padding=1))])
        self.context = _zeroed(nn.Linear(math.prod(context_shape), hidden or out)) if context_shape else None

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        h = kept
        for index, conv in enumerate(self.convs):  # a slice of them would be a module, made at each pass
            h = conv(self._activate(h)) if index else self._first(h, context)
        return h.unflatten(1, self.params_shape[:2])  # [batch, n_params, c, h, w]

    def initialize(self, kept: Tensor, context: Tensor | None = None) -> None:
        h = kept
        for index, conv in enumerate(self.convs[:-1]):
            if isinstance(conv, NormedConv):
                conv.initialize(h)
            h = self._activate(conv(h) if index else self._first(h, context))

    def _first(self, kept: Tensor, context: Tensor | None) -> Tensor:
        h = self.convs[0](kept)
        if self.context is None or context is None:
            return h
        return h + self.context(context.flatten(1))[:, :, None, None]

    def _activate(self, h: Tensor) -> Tensor:
        h = F.relu(h, inplace=True)
        return F.dropout2d(h, self.dropout, self.training) if self.dropout else h


class ScaledConv(nn.Conv2d):
    """A convolution whose output channels are scaled by exp(gain · log_scale), the scale applied to the weights: it
    costs a pass over them and none over the activations."""

    gain = 1.0
    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, size, padding=padding)
        self.log_scale = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.gain * self.log_scale).exp().view(-1, 1, 1, 1)
        return self._conv_forward(x, self.weight * scale, self.bias)


class NormedConv(ScaledConv):
    """A convolution with actnorm behind it: y = s ⊙ (W * x) + b, s = exp(log_scale), set from the first batch."""

    def __init__(self, in_channels: int, out_channels: int, size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, size, padding)
        nn.init.normal_(self.weight, std=0.05)
        nn.init.zeros_(self.bias)

    def initialize(self, x: Tensor) -> None:
        """Mean 0 and variance 1 for each output channel on this batch."""
        log_scale, bias = normalizing(self._conv_forward(x, self.weight, None))
        self.log_scale.copy_(log_scale)
        self.bias.copy_(bias)


class ZeroScaledConv(ScaledConv):
    """The last convolution in Glow's published code: the scale of each output channel learns three times as fast."""

    gain = 3.0


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer, whose output is 0, so that a coupling starts as the identity."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
