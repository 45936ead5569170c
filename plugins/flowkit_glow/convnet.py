"""Defines Glow's conditioner for images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Conditioner
from flowkit.plugin import Shape
from flowkit_glow.actnorm import normalizing


class ConvNet(Conditioner):
    """A conditioner of three convolutions: 3×3, norm, ReLU, 1×1, norm, ReLU, 3×3. The last one is zero at the start.

    It follows the paper and the published code. A context is flattened, mapped linearly, and added to the output of
    the first convolution. That linear map is zero at the start. The shapes are [batch, *kept_shape] ->
    [batch, *params_shape].

    Args:
        kept_shape: The shape of the kept part, [channels, height, width].
        params_shape: The shape of the parameters, [n_params, channels, height, width], of the same height and width.
        context_shape: The shape of the context, or None without one.
        hidden: The number of channels of the first two convolutions. With 0 there is only the last convolution.
        normalization: ``"actnorm"``, or ``"none"`` if all convolutions are plain ones.
        dropout: The share of the hidden channels that are dropped in training.

    References:
        Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", §3.3.

    Examples:
        >>> import torch
        >>> from flowkit_glow.convnet import ConvNet
        >>> ConvNet((6, 4, 4), (2, 6, 4, 4), hidden=8)(torch.zeros(5, 6, 4, 4)).shape
        torch.Size([5, 2, 6, 4, 4])
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
        for index, conv in enumerate(self.convs):  # slicing the ModuleList would create a module at each pass
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
    """A convolution whose output channels are scaled by exp(gain · log_scale).

    The scale is applied to the weights, which is cheaper than scaling the activations.
    """

    gain = 1.0
    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, size, padding=padding)
        self.log_scale = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.gain * self.log_scale).exp().view(-1, 1, 1, 1)
        return self._conv_forward(x, self.weight * scale, self.bias)


class NormedConv(ScaledConv):
    """A convolution followed by actnorm: y = s ⊙ (W * x) + b with s = exp(log_scale). The first batch sets s and b."""

    def __init__(self, in_channels: int, out_channels: int, size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, size, padding)
        nn.init.normal_(self.weight, std=0.05)
        nn.init.zeros_(self.bias)

    def initialize(self, x: Tensor) -> None:
        """Set the scale and the bias so that each output channel has mean 0 and variance 1 on this batch."""
        log_scale, bias = normalizing(self._conv_forward(x, self.weight, None))
        self.log_scale.copy_(log_scale)
        self.bias.copy_(bias)


class ZeroScaledConv(ScaledConv):
    """The last convolution in Glow's published code. The scale of each output channel is exp(3 log_scale)."""

    gain = 3.0


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Set the parameters of a layer to 0 and return it. With an output of 0, a coupling starts as the identity."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
