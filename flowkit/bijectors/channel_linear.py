"""Defines layers that apply one affine map to the channels at every position. Adjacent layers compose to one map."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors.bijector import Bijector


class AffineMap(NamedTuple):
    """The affine map v -> A v + a of the channels, which is the same at each position of an image [c, h, w].

    A vector [d] counts as one position with d channels. Constants may have any precision: they are converted to that of
    the event.
    """

    matrix: Tensor
    """The matrix A [c, c], or its diagonal: [c], or a scalar if all entries are the same. Integers [c] are the indices
    of a permutation, (A v)_i = v_{matrix[i]}."""
    offset: Tensor | None
    """The offset a [c], or a scalar if all entries are the same, or None for 0."""
    log_det: Tensor
    """log|det A|, a scalar. It is the log-det at one position."""

    def then(self, other: AffineMap) -> AffineMap:
        """Return the composition v -> B (A v + a) + b of this map, A v + a, and the other one, B v + b.

        Args:
            other: The map that is applied after this one. It is on the same device and in the same precision.
        """
        offset = other.offset if self.offset is None else other._vectors(self.offset)
        log_det = self.log_det + other.log_det
        if self._permutes and other._permutes:
            return AffineMap(self.matrix[other.matrix], offset, log_det)
        first, second = self.without_indices().matrix, other.without_indices().matrix
        if first.dim() < 2:
            matrix = second * first
        elif second.dim() < 2:
            matrix = second.unsqueeze(-1) * first
        else:
            matrix = second @ first
        return AffineMap(matrix, offset, log_det)

    def inverse(self) -> AffineMap:
        """Return the inverse map, v -> A⁻¹ (v - a)."""
        linear = AffineMap(self._inverse_matrix(), None, -self.log_det)
        if self.offset is None:
            return linear
        offset = self.offset if self.offset.dim() or not self.matrix.dim() else self.offset.expand(len(self.matrix))
        return linear._replace(offset=-linear._vectors(offset))

    def _inverse_matrix(self) -> Tensor:
        if self._permutes:
            return self.matrix.argsort()
        return self.matrix.reciprocal() if self.matrix.dim() < 2 else torch.linalg.inv_ex(self.matrix).inverse

    def to(self, x: Tensor, channels: int) -> AffineMap:
        """Return the map on the device and in the precision of x. An offset has an entry for each channel.

        Args:
            x: A tensor with the device and the precision.
            channels: The number of channels c.
        """
        matrix = self.matrix.to(x.device) if self._permutes else self.matrix.to(x)
        offset = None if self.offset is None else self.offset.to(x).expand(channels)
        return AffineMap(matrix, offset, self.log_det.to(x))

    def without_indices(self) -> AffineMap:
        """Return the same map. If it is a permutation, its matrix is [c, c]."""
        if not self._permutes:
            return self
        c = len(self.matrix)
        identity = torch.eye(c, dtype=self.log_det.dtype, device=self.log_det.device)
        return self._replace(matrix=identity.index_select(0, self.matrix))  # row i is 1 at matrix[i]

    @property
    def _permutes(self) -> bool:
        return self.matrix.dim() == 1 and not self.matrix.is_floating_point()

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the map at each position of x.

        The map must be on the device and in the precision of x.

        Args:
            x: The events, [batch, c, *spatial].

        Returns:
            The transformed events [batch, c, *spatial], and the log-det [batch] over all positions.
        """
        if x.dim() == 2:
            return self._vectors(x), self.log_det.expand(x.shape[0])
        n, c, *spatial = x.shape
        y = self._linear(x.movedim(1, -1))  # [batch, *spatial, c]
        if self.offset is not None:
            # It is expanded over the batch, so that its gradient is a sum over positions, and then over the batch. If
            # it were one sum over both, torch.compile would compile again for each range of batch sizes.
            y = y + self.offset.expand(n, *(1 for _ in spatial), c)
        return y.movedim(-1, 1), (self.log_det * math.prod(spatial)).expand(n)

    def undo(self, y: Tensor) -> Tensor:
        """Return x with A x + a = y at each position. The map must be as for ``transform``.

        Args:
            y: The outputs, [batch, c, *spatial].
        """
        rows = y.movedim(1, -1) if self.offset is None else y.movedim(1, -1) - self.offset
        return self._replace(matrix=self._inverse_matrix())._linear(rows).movedim(-1, 1)

    def _vectors(self, x: Tensor) -> Tensor:
        """Return A v + a for each vector of x [..., c]. This takes half the time of the views for positions."""
        if self.matrix.dim() == 2:
            return F.linear(x, self.matrix, self.offset)
        if self.offset is None:
            return self._linear(x)
        return self._linear(x) + self.offset if self._permutes else torch.addcmul(self.offset, x, self.matrix)

    def _linear(self, rows: Tensor) -> Tensor:
        """Return A v for each row v of ``rows`` [..., c]."""
        if self._permutes:
            return rows.index_select(-1, self.matrix)
        return rows * self.matrix if self.matrix.dim() < 2 else rows @ self.matrix.transpose(0, 1)


class ChannelLinear(Bijector):
    """A layer that applies one affine map at each position p: y[:, p] = A x[:, p] + a.

    log|det| = h·w·log|det A|, because the Jacobian contains A once for each position.

    A subclass only returns the map. flowkit applies it, counts the positions, and merges adjacent layers into one map.
    A subclass must not override ``forward_and_log_det`` or ``inverse_and_log_det``, because merged layers are run by
    their maps alone.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import AffineMap, ChannelLinear
        >>> class Halve(ChannelLinear):
        ...     def affine(self):
        ...         half = torch.tensor(0.5)
        ...         return AffineMap(half, None, self.event_shape[0] * half.log())
        >>> y, log_det = Halve((1, 2, 2)).forward_and_log_det(torch.ones(1, 1, 2, 2))
        >>> y.flatten(), log_det  # four positions: -4 log 2
        (tensor([0.5000, 0.5000, 0.5000, 0.5000]), tensor([-2.7726]))
    """

    @abstractmethod
    def affine(self) -> AffineMap:
        """Return the map: A, a, and log|det A| at one position.

        A flow calls this at each pass, so gradients reach the parameters that the map is made from.
        """

    def affine_inverse(self) -> AffineMap:
        """Return the inverse map, whose log-det is -log|det A|. Override it if the inverse has a better formula."""
        return self.affine().inverse()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.affine().to(x, self.event_shape[0]).transform(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.affine_inverse().to(y, self.event_shape[0]).transform(y)

    def freeze(self) -> Bijector:
        """Return the layer for inference, as one convolution in each direction.

        A flow freezes runs of adjacent layers instead. This is for layers that are part of another one, as of Inverse.
        """
        with torch.no_grad():
            matrix = self.affine().matrix
        precision = torch.promote_types(matrix.dtype, torch.get_default_dtype())
        return ChannelRun([self]).freeze(torch.empty(0, dtype=precision, device=matrix.device))


class ChannelRun:
    """A run of adjacent channel-linear layers. It is applied as the one map that they compose to.

    A run is created at each pass and belongs to no module, so merging changes neither parameters nor state_dict.
    """

    handles_autocast: ClassVar[bool] = False

    def __init__(self, layers: Sequence[ChannelLinear]) -> None:
        self.layers = layers

    def affine(self, x: Tensor) -> AffineMap:
        """Return the composed map on the device and in the precision of x."""
        maps = (layer.affine().to(x, layer.event_shape[0]) for layer in self.layers)
        return reduce(AffineMap.then, maps)

    def affine_inverse(self, y: Tensor) -> AffineMap:
        """Return the composed inverse map on the device and in the precision of y."""
        maps = (layer.affine_inverse().to(y, layer.event_shape[0]) for layer in reversed(self.layers))
        return reduce(AffineMap.then, maps)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.affine(x).transform(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.affine_inverse(y).transform(y)

    def recompute(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Do what ``Bijector.recompute`` does, but compose the map once for both directions."""
        affine = self.affine(y)
        with torch.no_grad():
            x = affine.undo(y)
        x.requires_grad_()
        return x, *affine.transform(x)

    def modules(self) -> Iterator[torch.nn.Module]:
        """Yield the layers and all modules in them."""
        for layer in self.layers:
            yield from layer.modules()

    @torch.no_grad()
    def freeze(self, like: Tensor) -> FrozenChannels:
        """Return the run for inference, on the device and in the precision of ``like``."""
        return FrozenChannels(self.layers[0].event_shape, self.affine(like), self.affine_inverse(like))


class FrozenChannels(Bijector):
    """A run of channel-linear layers for inference: one convolution in each direction, and a constant log-det."""

    forward_weight: Tensor
    forward_bias: Tensor
    inverse_weight: Tensor
    inverse_bias: Tensor
    log_det: Tensor

    def __init__(self, event_shape: Sequence[int], forward: AffineMap, inverse: AffineMap) -> None:
        super().__init__(event_shape)
        c, *spatial = self.event_shape
        for name, affine in {"forward": forward.without_indices(), "inverse": inverse.without_indices()}.items():
            matrix = affine.matrix if affine.matrix.dim() == 2 else affine.matrix.expand(c).diag()
            self.register_buffer(f"{name}_weight", matrix.reshape(c, c, *(1 for _ in spatial)).contiguous())
            bias = matrix.new_zeros(c) if affine.offset is None else affine.offset
            self.register_buffer(f"{name}_bias", bias.contiguous())
        self.register_buffer("log_det", forward.log_det)  # the log-det at one position

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(x, self.forward_weight, self.forward_bias), self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._affine(y, self.inverse_weight, self.inverse_bias), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_det.to(x) * math.prod(x.shape[2:])).expand(x.shape[0])

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return (F.linear, F.conv1d, F.conv2d, F.conv3d)[len(self.event_shape) - 1](x, weight.to(x), bias.to(x))
