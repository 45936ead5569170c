"""Layers that are one affine map of the channels, the same at every position, and what a run of them amounts to."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.flow.bijector import Bijector

PROBE = 2.0**40
"""The length of the vectors that show a channel map's matrix. It is what the map does to them less what it does to 0:
where they are short, a small matrix drowns in the rounding of a large offset (rescaling 65,536 levels has 1.5e-5
beside ½: 4e-4 of the matrix in fp32). A power of 2, so that scaling rounds nothing."""


class ChannelLinear(Bijector):
    """y[:, p] = A x[:, p] + a at each position p of an image [c, h, w]; a vector [d] is one position of d channels.

    A subclass gives the map of channel vectors, its inverse, and log|det A|; the log-det of the layer is
    h·w·log|det A|, because the Jacobian holds A once for each position. The matrix itself is what the map does to
    the unit vectors, and a is what it does to 0, so that flowkit can merge neighbours into one map.
    """

    @abstractmethod
    def channels(self, v: Tensor) -> Tensor:
        """[n, c] -> [n, c]: the map of each row."""

    @abstractmethod
    def channels_inverse(self, v: Tensor) -> Tensor:
        """[n, c] -> [n, c]: the inverse map of each row."""

    @abstractmethod
    def log_det(self) -> Tensor:
        """log|det A|, a scalar on any device: the log-det at one position. Constants are best given in fp64."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return at_positions(self.channels, x), x.new_zeros(x.shape[0]) + positions(x) * self.log_det()

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return at_positions(self.channels_inverse, y), y.new_zeros(y.shape[0]) - positions(y) * self.log_det()


def positions(x: Tensor) -> int:
    """h·w of [batch, c, h, w]; 1 for [batch, d]."""
    return math.prod(x.shape[2:])


def at_positions(channel_map: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a map of [n, c] to the channels of x [batch, c, *spatial]. In channels_last memory nothing is copied."""
    rows = x.movedim(1, -1)  # [batch, *spatial, c]
    return channel_map(rows.flatten(0, -2)).view(rows.shape).movedim(-1, 1)


class ChannelRun:
    """Neighbouring channel-linear layers as the one affine map that they compose to: v -> v Aᵀ + a.

    A view, computed anew at each call: it owns no parameters, so merging changes neither training nor state_dict.
    """

    def __init__(self, layers: Sequence[ChannelLinear]) -> None:
        self.layers = layers

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As a bijector's, but the log-det is a scalar, the same for the whole batch."""
        return _apply(self.affine(x.dtype, x.device), x), positions(x) * self.log_det()

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _apply(self.affine_inverse(y.dtype, y.device), y), -positions(y) * self.log_det()

    def affine(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """(Aᵀ [c, c], a [c]) of the whole run."""
        return _affine([layer.channels for layer in self.layers], self._probe(dtype, device))

    def affine_inverse(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """The same of the inverse of the run."""
        return _affine([layer.channels_inverse for layer in reversed(self.layers)], self._probe(dtype, device))

    def log_det(self) -> Tensor:
        """Σ log|det A_i|, a scalar: the log-det at one position."""
        return sum((layer.log_det() for layer in self.layers), torch.zeros(()))

    def freeze(self, dtype: torch.dtype, device: torch.device) -> FrozenChannels:
        """The run with its matrices, forward and inverse, and its log-det computed once and for all."""
        with torch.no_grad():
            affine, inverse = self.affine(dtype, device), self.affine_inverse(dtype, device)
            return FrozenChannels(self.layers[0].event_shape, affine, inverse, self.log_det().to(device, dtype))

    def _probe(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """PROBE times the unit vectors, then 0: [c + 1, c]."""
        c = self.layers[0].event_shape[0]
        return PROBE * torch.eye(c + 1, c, dtype=dtype, device=device)


def _affine(maps: Sequence[Callable[[Tensor], Tensor]], probe: Tensor) -> tuple[Tensor, Tensor]:
    for channel_map in maps:
        probe = channel_map(probe)
    offset = probe[-1]
    return (probe[:-1] - offset) / PROBE, offset


def _apply(affine: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    matrix, offset = affine
    return at_positions(lambda v: torch.addmm(offset, v, matrix), x)


class FrozenChannels(Bijector):
    """A channel-linear run for inference: one convolution each way, and a constant log-det."""

    forward_weight: Tensor
    forward_bias: Tensor
    inverse_weight: Tensor
    inverse_bias: Tensor
    log_det: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        affine: tuple[Tensor, Tensor],
        affine_inverse: tuple[Tensor, Tensor],
        log_det: Tensor,
    ) -> None:
        super().__init__(event_shape)
        ones = (1,) * (len(self.event_shape) - 1)
        for name, (matrix, offset) in {"forward": affine, "inverse": affine_inverse}.items():
            self.register_buffer(f"{name}_weight", matrix.T.reshape(*matrix.shape, *ones).contiguous())
            self.register_buffer(f"{name}_bias", offset)
        self.register_buffer("log_det", math.prod(self.event_shape[1:]) * log_det)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(x, self.forward_weight, self.forward_bias), self.log_det.expand(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(y, self.inverse_weight, self.inverse_bias), (-self.log_det).expand(y.shape[0])

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias) if len(self.event_shape) == 3 else F.linear(x, weight, bias)
