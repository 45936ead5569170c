"""A plugin of each kind, as somebody would write them in a notebook: config and target side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import flowkit
from flowkit.bijectors import Base, Bijector, Conditioner, Encoder, MaskedConditioner, Order, Split, Transformer
from flowkit.plugin import (
    Arrays,
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    Dataset,
    DatasetConfig,
    EncoderConfig,
    MaskedConditionerConfig,
    OrderConfig,
    PartName,
    Shape,
    SplitConfig,
    TransformerConfig,
    TransformerRef,
)


class ScaleConfig(BijectorConfig):
    """y = factor · exp(t) x."""

    factor: float = 2.0
    """What x is multiplied with at the start."""


class Scale(Bijector):
    """log|det| = D (log factor + t)."""

    def __init__(self, event_shape: Shape, factor: float = 2.0) -> None:
        super().__init__(event_shape)
        self.factor = factor
        self.t = nn.Parameter(torch.zeros(()))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.factor * self.t.exp(), self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y / self.factor * (-self.t).exp(), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (math.log(self.factor) + self.t) * math.prod(self.event_shape) + x.new_zeros(x.shape[0])


class ElementwiseConfig(BijectorConfig):
    """Transformers with free parameters, one behind the other."""

    maps: list[TransformerRef]
    """The transformers."""


class Elementwise(Bijector):
    """Builds the plugins that its fields name, and keeps them under the fields' names."""

    def __init__(self, event_shape: Shape, maps: list[Any]) -> None:
        super().__init__(event_shape)
        self.maps = self._built = nn.ModuleList(each.build() for each in maps)
        self.theta = nn.ParameterList(torch.zeros(each.n_params, *event_shape) for each in self._built)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for each, theta in zip(self._built, self.theta, strict=True):
            x, log_derivative = each(x, theta.expand(x.shape[0], *theta.shape))
            log_det = log_det + log_derivative.flatten(1).sum(1)
        return x, log_det

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = y.new_zeros(y.shape[0])
        for each, theta in reversed(list(zip(self._built, self.theta, strict=True))):
            y, log_derivative = each.inverse(y, theta.expand(y.shape[0], *theta.shape))
            log_det = log_det + log_derivative.flatten(1).sum(1)
        return y, log_det


class OneConfig(BijectorConfig):
    """One transformer with free parameters."""

    map: TransformerRef
    """The transformer."""


class One(Elementwise):
    """Keeps the reference itself."""

    def __init__(self, event_shape: Shape, map: Any) -> None:
        super().__init__(event_shape, [map])
        self.map = map


class NamedConfig(BijectorConfig):
    """Transformers with free parameters, each with a name."""

    maps: dict[str, TransformerRef]
    """The transformers."""


class Named(Elementwise):
    """Keeps what it builds by name."""

    def __init__(self, event_shape: Shape, maps: dict[str, Any]) -> None:
        super().__init__(event_shape, list(maps.values()))
        self.maps = nn.ModuleDict(zip(maps, self._built, strict=True))


class ShiftConfig(TransformerConfig):
    """y = x + by · θ."""

    by: float = 1.0
    """The unit of θ."""


class Shift(Transformer):
    n_params = 1

    def __init__(self, by: float = 1.0) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + self.by * theta[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return y - self.by * theta[:, 0], torch.zeros_like(y)


class LastConfig(SplitConfig):
    """Transforms the last ``n`` channels of a vector."""

    n: int = 1
    """How many."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        return (event[0] - self.n,), (self.n,)


class Last(Split):
    """By a mask, whose values it asks for when it is built."""

    first: Tensor
    last: Tensor

    def __init__(self, event_shape: Shape, n: int = 1) -> None:
        super().__init__(event_shape)
        self.n = n
        mask = torch.arange(event_shape[0]) >= event_shape[0] - n
        self.register_buffer("first", (~mask).nonzero()[:, 0])
        self.register_buffer("last", mask.nonzero()[:, 0])

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.first], x[:, self.last]

    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        return torch.cat([kept, transformed], 1)


class LinearConfig(ConditionerConfig):
    """One linear map."""


class Linear(Conditioner):
    def __init__(self, kept: Shape, params: Shape, context: Shape | None) -> None:
        super().__init__()
        self.params = params
        self.linear = nn.Linear(math.prod(kept), math.prod(params))

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        return self.linear(kept.flatten(1)).unflatten(1, self.params)


class TriangularConfig(MaskedConditionerConfig):
    """One linear map with a triangular matrix."""


class Triangular(MaskedConditioner):
    def __init__(self, order: Order, params: Shape, context: Shape | None) -> None:
        super().__init__()
        self.order_of = order.ranks()
        self.weight = nn.Parameter(torch.zeros(*params, params[1]))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        before = self.order_of[:, None] > self.order_of
        return torch.einsum("pij,bj->bpi", self.weight * before.to(x), x)


class RotatedConfig(OrderConfig):
    """Begins somewhere in the event."""

    start: int = 1
    """Where."""


class Rotated(Order):
    def __init__(self, event_shape: Shape, start: int = 1) -> None:
        super().__init__(event_shape)
        self.start = start

    def sequence(self) -> list[int]:
        size = math.prod(self.event_shape)
        return [(self.start + i) % size for i in range(size)]


class WideConfig(BaseConfig):
    """N(0, width²)."""

    width: float = 3.0
    """The standard deviation."""


class Wide(Base):
    def __init__(self, event_shape: Shape, width: float = 3.0) -> None:
        super().__init__(event_shape)
        self.width = width

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        each = (z / self.width).square() + math.log(2 * math.pi * self.width**2)
        return -0.5 * each.flatten(1).sum(1)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return noise[0] * self.width


class PooledConfig(EncoderConfig):
    """The mean over a set."""

    times: float = 2.0
    """What it is multiplied with."""

    def output_shape(self, context: Shape) -> Shape:
        return context[1:]


class Pooled(Encoder):
    def __init__(self, context_shape: Shape, times: float = 2.0) -> None:
        super().__init__()
        self.times = times

    def forward(self, context: Tensor) -> Tensor:
        return self.times * context.mean(1)


class BlobConfig(DatasetConfig):
    """Normal noise, and sets of it."""

    n: int = 64
    """Rows of each part."""


class Blob(Dataset):
    def __init__(self, n: int = 64) -> None:
        self.n = n

    def load(self, part: PartName) -> Arrays:
        random = np.random.default_rng(0)
        x, sets = random.normal(size=(self.n, 3)), random.normal(size=(self.n, 4, 2))
        return Arrays(x.astype(np.float32), sets.astype(np.float32))


PLUGINS = {
    "mine/scale": (ScaleConfig, Scale),
    "mine/elementwise": (ElementwiseConfig, Elementwise),
    "mine/one": (OneConfig, One),
    "mine/named": (NamedConfig, Named),
    "mine/shift": (ShiftConfig, Shift),
    "mine/last": (LastConfig, Last),
    "mine/linear": (LinearConfig, Linear),
    "mine/triangular": (TriangularConfig, Triangular),
    "mine/rotated": (RotatedConfig, Rotated),
    "mine/wide": (WideConfig, Wide),
    "mine/pooled": (PooledConfig, Pooled),
    "mine/blob": (BlobConfig, Blob),
}

SPEC = """\
flowkit: 1
event: {shape: [3]}
context: {shape: [4, 2], encoder: {use: mine/pooled, times: 3}}
flow:
  - {use: mine/scale, factor: 0.5}
  - {use: mine/elementwise, maps: [{use: glow/affine, scale: [0.5, 2]}, {use: mine/shift, by: 2}]}
  - {use: mine/one, map: {use: spline/rational_quadratic, bins: 4}}
  - {use: mine/named, maps: {first: {use: glow/affine, scale: [0.5, 2]}, then: {use: mine/shift, by: 2}}}
  - coupling: {use: mine/shift}
    conditioner: {use: mine/linear}
    split: {use: mine/last, n: 2}
  - autoregressive: {use: mine/shift}
    conditioner: {use: mine/triangular}
    order: {use: mine/rotated, start: 2}
base: {use: mine/wide, width: 2}
data: {use: mine/blob, n: 32}
train: {epochs: 1, batch_size: 16}
"""


def register() -> None:
    for name, (config, target) in PLUGINS.items():
        flowkit.register(name, config, target)
