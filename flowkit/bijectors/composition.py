"""Applies layers one after another, and merges adjacent channel-linear layers.

A run is a list of adjacent channel-linear layers. A step of a pass is a run that is applied as one map, or another
layer. A unit is a run together with the layer that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import Bijector, full_precision
from flowkit.bijectors.channel_linear import ChannelLinear, ChannelRun
from flowkit.directions import Shared, shared
from flowkit.errors import PluginError
from flowkit.shapes import Shape

Merged = Bijector | ChannelRun
"""A step of a pass: a layer, or a run of adjacent channel-linear layers that is applied as one map."""


class Composition(Bijector):
    """Layers applied one after another: y = f_M(… f_1(x) …). log|det| is the sum of their log-dets.

    Args:
        layers: At least one layer. Each takes the output shape of the layer before it.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import Composition
        >>> from flowkit_glow.actnorm import ActNorm
        >>> from flowkit_glow.squeeze import Squeeze
        >>> layer = Composition([Squeeze((1, 4, 4)), ActNorm((4, 2, 2))])
        >>> y, log_det = layer.forward_and_log_det(torch.randn(3, 1, 4, 4))
        >>> y.shape, log_det.shape
        (torch.Size([3, 4, 2, 2]), torch.Size([3]))
    """

    handles_autocast: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Bijector]) -> None:
        super().__init__(layers[0].event_shape)
        self.layers: Sequence[Bijector] = nn.ModuleList(layers)  # type: ignore[assignment]

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1].output_shape

    @property
    def directions(self) -> Shared:
        return shared(layer.directions for layer in self.layers)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return forward_through(self.layers, x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return inverse_through(self.layers, y, context)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        initialize_through(self.layers, x, context)


def forward_through(layers: Iterable[Bijector], x: Tensor, context: Tensor | None, *_: Any) -> tuple[Tensor, Tensor]:
    """Apply the layers to x. Return the result, and the sum of their log-dets, [batch].

    This is the memory strategy ``store``: autograd stores what it needs. Further arguments, which other strategies
    take, are ignored.
    """
    log_det = x.new_zeros(x.shape[0])
    for step in merged(layers):
        with autocast_of(step, x.device):
            x, term = step.forward_and_log_det(x, context)
        log_det = log_det + term
    return x, log_det


def inverse_through(layers: Iterable[Bijector], y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Apply the inverses of the layers to y, in reverse order.

    Return the result, and the sum of their log-dets, [batch].
    """
    log_det = y.new_zeros(y.shape[0])
    for step in reversed(merged(layers)):
        with autocast_of(step, y.device):
            y, term = step.inverse_and_log_det(y, context)
        log_det = log_det + term
    return y, log_det


def initialize_through(layers: Iterable[Bijector], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Initialize each layer from the output of the layers before it. Return what ``forward_through`` does."""
    log_det = x.new_zeros(x.shape[0])
    for layer in layers:
        layer.initialize(x, context)
        x, term = layer.forward_and_log_det(x, context)
        log_det = log_det + term
    return x, log_det


def merged(layers: Iterable[Bijector]) -> list[Merged]:
    """Return the layers, with adjacent channel-linear layers merged into runs."""
    return [run[0] if len(run) == 1 else ChannelRun(run) for run in runs(layers)]


def frozen(layers: Iterable[Bijector], like: Tensor) -> list[Bijector]:
    """Return the layers for inference, on the device and in the precision of ``like``.

    Each channel-linear run becomes one convolution.
    """
    return [
        ChannelRun(run).freeze(like) if isinstance(run[0], ChannelLinear) else _frozen(run[0]) for run in runs(layers)
    ]


def _frozen(layer: Bijector) -> Bijector:
    module = layer.freeze()
    if not isinstance(module, nn.Module):
        name = type(layer).__name__
        raise PluginError(f"freeze of {name} must return a module, the layer itself or another, not {module!r}")
    return module


def runs(layers: Iterable[Any]) -> list[list[Any]]:
    """Divide the layers into runs of adjacent channel-linear layers. Every other layer forms a run of its own."""
    found: list[list[Any]] = []
    for layer in flat(layers):
        if found and isinstance(layer, ChannelLinear) and isinstance(found[-1][0], ChannelLinear):
            found[-1].append(layer)
        else:
            found.append([layer])
    return found


def units(layers: Iterable[Bijector]) -> Iterator[list[Bijector]]:
    """Divide the layers into units.

    A unit is a layer that isn't channel-linear, together with the run that precedes it. A run at the end is a unit too.
    """
    unit: list[Bijector] = []
    for layer in flat(layers):
        unit.append(layer)
        if not isinstance(layer, ChannelLinear):
            yield unit
            unit = []
    if unit:
        yield unit


def flat(layers: Iterable[Any]) -> Iterator[Any]:
    """Yield the layers, and in place of a composition its layers. A subclass of Composition counts as one layer."""
    for layer in layers:
        yield from flat(layer.layers) if type(layer) is Composition else (layer,)


def autocast_of(step: Merged, device: torch.device) -> AbstractContextManager[object]:
    """Return the context to run a step in: it switches autocast off, unless the step handles autocast itself."""
    return nullcontext() if step.handles_autocast else full_precision(device)
