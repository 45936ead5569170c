"""Layers one after another, and the merging of neighbours that are channel-linear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from flowkit.flow.bijector import Bijector
from flowkit.flow.channel_linear import ChannelLinear, ChannelRun
from flowkit.flow.factor_out import FactorOut
from flowkit.plugin.config import Shape

MERGE_UP_TO = 192
"""Channels up to which merging pays or costs nothing: its c×c products grow with c³, what they save with c.

Forward and backward of actnorm and conv1x1, merged over layer by layer, two CPU cores: 0.8 at c = 12, 1.0 at 48 to
192, 1.1 at 384, 1.5 at 768.
"""

Layer = Bijector | FactorOut
"""What a flow is made of."""

L = TypeVar("L", Bijector, Layer)


class Composition(Bijector):
    """f_M ∘ … ∘ f_1; log|det| is the sum of the layers', each where it is reached."""

    def __init__(self, layers: Sequence[Bijector]) -> None:
        super().__init__(layers[0].event_shape)
        self.layers: Sequence[Bijector] = nn.ModuleList(layers)  # type: ignore[assignment]

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1].output_shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for step in merged(self.layers):
            x, term = step.forward_and_log_det(x, context)
            log_det = log_det + term
        return x, log_det

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = y.new_zeros(y.shape[0])
        for step in reversed(merged(self.layers)):
            y, term = step.inverse_and_log_det(y, context)
            log_det = log_det + term
        return y, log_det

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        for layer in self.layers:
            layer.initialize(x, context)
            x, _ = layer.forward_and_log_det(x, context)


def merged(layers: Iterable[L]) -> list[L | ChannelRun]:
    """The layers with each run of channel-linear neighbours as one ChannelRun, where that pays."""
    return [step for run in _runs(layers) for step in (_merge(run) if len(run) > 1 else run)]


def frozen(layers: Iterable[L], dtype: torch.dtype, device: torch.device) -> list[L]:
    """The layers for inference: runs always merged, everything else frozen on its own."""
    return [
        ChannelRun(run).freeze(dtype, device) if isinstance(run[0], ChannelLinear) else run[0].freeze()
        for run in _runs(layers)
    ]


def _merge(run: list[Any]) -> list[Any]:
    return [ChannelRun(run)] if run[0].event_shape[0] <= MERGE_UP_TO else run


def _runs(layers: Iterable[Any]) -> list[list[Any]]:
    """Runs of neighbouring channel-linear layers; every other layer on its own. (torch.compile reads no groupby.)"""
    runs: list[list[Any]] = []
    for layer in _flat(layers):
        if runs and isinstance(layer, ChannelLinear) and isinstance(runs[-1][0], ChannelLinear):
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def _flat(layers: Iterable[Any]) -> Iterator[Any]:
    for layer in layers:
        yield from _flat(layer.layers) if isinstance(layer, Composition) else (layer,)
