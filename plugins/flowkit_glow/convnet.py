"""Glow's conditioner for images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.flow import Conditioner, at_positions
from flowkit.plugin import Shape
from flowkit_glow.actnorm import ActNorm


class ConvNet(Conditioner):
    """conv 3×3, norm, ReLU, conv 1×1, norm, ReLU, conv 3×3, the last one zero at the start.

    As in Kingma & Dhariwal 2018, §3.3, and its published code. A context is flattened and added, by a linear map
    that starts at zero, to what the first convolution gives. With ``hidden=0`` the last convolution is alone.
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
        normal = normalization == "actnorm"
        out = math.prod(self.params_shape[:2])
        self.convs = nn.ModuleList([ZeroConv(hidden or kept_shape[0], out)])
        self.norms = nn.ModuleList()
        if hidden:
            self.convs.insert(0, _conv(kept_shape[0], hidden, 3, bias=not normal))
            self.convs.insert(1, _conv(hidden, hidden, 1, bias=not normal))
            self.norms.extend(ActNorm((hidden, *kept_shape[1:])) if normal else nn.Identity() for _ in range(2))
        self.context = _zero_linear(math.prod(context_shape), hidden or out) if context_shape else None

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        h = self._first(kept, context)
        for norm, conv in zip(self.norms, self.convs[1:], strict=True):
            h = conv(self._activate(norm, h))
        return h.unflatten(1, self.params_shape[:2])  # [batch, n_params, c, h, w]

    def initialize(self, kept: Tensor, context: Tensor | None = None) -> None:
        h = self._first(kept, context)
        for norm, conv in zip(self.norms, self.convs[1:], strict=True):
            if isinstance(norm, ActNorm):
                norm.initialize(h)
            h = conv(self._activate(norm, h))

    def _first(self, kept: Tensor, context: Tensor | None) -> Tensor:
        h = self.convs[0](kept)
        if self.context is None or context is None:
            return h
        return h + self.context(context.flatten(1))[:, :, None, None]

    def _activate(self, norm: nn.Module, h: Tensor) -> Tensor:
        h = at_positions(norm.channels, h) if isinstance(norm, ActNorm) else h
        return F.dropout(F.relu(h, inplace=True), self.dropout, self.training)


class ZeroConv(nn.Conv2d):
    """A 3×3 convolution that is 0 at the start, its output channels scaled by exp(3 log_scale)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.log_scale = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = (3 * self.log_scale).exp()
        return F.conv2d(x, self.weight * scale[:, None, None, None], self.bias * scale, padding=1)


def _conv(in_channels: int, out_channels: int, size: int, bias: bool) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=bias)
    if not bias:  # as published: the norm behind it makes up for the scale
        nn.init.normal_(conv.weight, std=0.05)
    return conv


def _zero_linear(in_features: int, out_features: int) -> nn.Linear:
    linear = nn.Linear(in_features, out_features)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
