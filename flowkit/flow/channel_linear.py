"""Layers that are one affine map of the channels, the same at every position, and what a run of them amounts to."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.flow.bijector import Bijector
from flowkit.flow.precision import full_precision


class ChannelLinear(Bijector):
    """y[:, p] = A x[:, p] + a at each position p of an image [c, h, w]; a vector [d] is one position of d channels.

    A subclass gives the map of channel vectors, its inverse, and log|det A|; the log-det of the layer is
    h·w·log|det A|, because the Jacobian holds A once for each position. The matrix itself is what the map does to
    the unit vectors, and a is what it does to 0, so that flowkit can merge neighbours into one map. What makes the map
    may change in parameters and buffers alone: layers that differ in nothing else are computed together, and without
    gradients their matrices are kept for as long as no number of theirs changes.
    """

    batched: ClassVar[bool] = False
    """Whether the three methods also take parameters and buffers of several layers, stacked: channels and its inverse
    then give [layers, n, c], of v [n, c] or [layers, n, c], and log_det [layers]. Others go through torch.vmap, which
    takes twice as long. Said by each class for itself: a subclass does not inherit it."""

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
        return at_positions(self.channels, x), x.new_zeros(x.shape[0]) + positions(x.shape) * self.log_det()

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return at_positions(self.channels_inverse, y), y.new_zeros(y.shape[0]) - positions(y.shape) * self.log_det()


def positions(shape: Sequence[int]) -> int:
    """h·w of [batch, c, h, w]; 1 of [batch, d]."""
    return math.prod(shape[2:])


def at_positions(channel_map: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a map of [n, c] to the channels of x [batch, c, *spatial]. In channels_last memory nothing is copied."""
    rows = x.movedim(1, -1)  # [batch, *spatial, c]
    return channel_map(rows.flatten(0, -2)).view(rows.shape).movedim(-1, 1)


class AffineMap(NamedTuple):
    """v -> v Aᵀ + a of the channels at each position, as numbers."""

    matrix: Tensor
    """Aᵀ [c, c]."""
    offset: Tensor
    """a [c]."""

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, c, *spatial] -> the same."""
        with full_precision(x.device):
            return (x.movedim(1, -1) @ self.matrix).add_(self._offset(x)).movedim(-1, 1)

    def _offset(self, x: Tensor) -> Tensor:
        """a, in a graph once for each event: its gradient is then a sum over positions, and one over the batch, where
        for a sum over both at once torch would write other code, and compile again, for each size of batches."""
        if not torch.compiler.is_compiling():
            return self.offset
        return self.offset.expand(x.shape[0], *(1,) * (x.dim() - 2), -1)

    def gradients(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of x, the matrix and the offset, from that of the map's output at x."""
        with full_precision(x.device):
            rows = grad.movedim(1, -1)  # [batch, *spatial, c]
            of_output = rows.flatten(0, -2)
            of_matrix = x.movedim(1, -1).flatten(0, -2).T @ of_output
            return (rows @ self.matrix.T).movedim(-1, 1), of_matrix, of_output.sum(0)


class ChannelRun(nn.Module):
    """Neighbouring channel-linear layers, which compose to one affine map of the channels.

    A view, computed anew at each pass: it belongs to no module, so merging changes neither parameters nor state_dict.
    """

    def __init__(self, layers: Sequence[ChannelLinear]) -> None:
        super().__init__()
        self.layers: Sequence[ChannelLinear] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.event_shape = layers[0].event_shape

    def forward(self, v: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """What the run, or its inverse, makes of the rows v [n, c], and the log-det of that map, a scalar."""
        log_det = torch.zeros(())
        for layer in reversed(self.layers) if inverse else self.layers:
            v = layer.channels_inverse(v) if inverse else layer.channels(v)
            log_det = log_det + layer.log_det()
        return v, -log_det if inverse else log_det

    @property
    def batched(self) -> bool:
        """Whether ``forward`` also runs with stacked tensors of several runs: [runs, n, c] and [runs]."""
        return all(vars(type(layer)).get("batched", False) for layer in self.layers)

    def freeze(self, dtype: torch.dtype, device: torch.device) -> FrozenChannels:
        """The run with its matrices, forward and inverse, and its log-det computed once and for all."""
        with torch.no_grad():
            (forward, log_det), (inverse, _) = (affine_map(self, dtype, device, flag) for flag in (False, True))
        return FrozenChannels(self.event_shape, forward, inverse, log_det.to(device, dtype))


def affine_map(
    run: ChannelRun, dtype: torch.dtype, device: torch.device, inverse: bool = False
) -> tuple[AffineMap, Tensor]:
    """The map that a run, or its inverse, amounts to, and its log-det at one position."""
    rows, log_det = run(probe(run.event_shape[0], dtype, device), inverse)
    return read_off(rows), log_det


def probe_length(dtype: torch.dtype) -> float:
    """Of the vectors that show a channel map's matrix, which is what the map does to them less what it does to 0.

    Where they are short, a small matrix drowns in the rounding of a large offset: rescaling 65,536 levels has 1.5e-5
    beside ½, 4e-4 of the matrix in fp32. A power of 2, so that scaling rounds nothing; fp16 ends at 2¹⁶.
    """
    return 2.0**6 if dtype == torch.float16 else 2.0**40


def probe(c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The unit vectors, made long, then 0: [c + 1, c]."""
    return probe_length(dtype) * torch.eye(c + 1, c, dtype=dtype, device=device)


def read_off(rows: Tensor) -> AffineMap:
    """The affine map that makes these rows [..., c + 1, c] of probe's."""
    rows, offset = rows.split([rows.shape[-1], 1], -2)
    return AffineMap((rows - offset) / probe_length(rows.dtype), offset.squeeze(-2))


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
        forward: AffineMap,
        inverse: AffineMap,
        log_det: Tensor,
    ) -> None:
        super().__init__(event_shape)
        ones = (1,) * (len(self.event_shape) - 1)
        for name, (matrix, offset) in {"forward": forward, "inverse": inverse}.items():
            self.register_buffer(f"{name}_weight", matrix.T.reshape(*matrix.shape, *ones).contiguous())
            self.register_buffer(f"{name}_bias", offset)
        self.register_buffer("log_det", log_det)  # at one position

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(x, self.forward_weight, self.forward_bias), self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(y, self.inverse_weight, self.inverse_bias), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_det * positions(x.shape)).expand(x.shape[0])

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        affine: Callable[..., Tensor] = (F.linear, F.conv1d, F.conv2d, F.conv3d)[len(self.event_shape) - 1]
        return affine(x, weight, bias)
