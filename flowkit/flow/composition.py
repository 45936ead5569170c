"""Layers one after another, and how they are run: neighbours that are channel-linear as one map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from flowkit.flow import memory
from flowkit.flow.bijector import Bijector
from flowkit.flow.channel_linear import AffineMap, ChannelLinear, ChannelRun
from flowkit.flow.channel_maps import Maps, alike
from flowkit.flow.compilation import any_batch, check_strategy, compiled
from flowkit.flow.factor_out import FactorOut
from flowkit.flow.precision import full_precision, precision_of
from flowkit.flow.structure import parameters
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
    """f_M ∘ … ∘ f_1; log|det| is the sum of the layers'."""

    handles_autocast: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Bijector]) -> None:
        super().__init__(layers[0].event_shape)
        self.layers: Sequence[Bijector] = nn.ModuleList(layers)  # type: ignore[assignment]
        self._plan = Plan(self.layers)

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1].output_shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (y,), log_det = self._plan.forward(x, context)
        return y, log_det

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._plan.inverse([y], context)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        for layer in self.layers:
            layer.initialize(x, context)
            x, _ = layer.forward_and_log_det(x, context)


class Arrangement:
    """Layers as they were at some moment, sorted by how they are run."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(flat(layers))
        steps = merged(self.layers)
        self.groups = alike(step for step in steps if isinstance(step, ChannelRun))
        self.factor_outs = [step for step in steps if isinstance(step, FactorOut)]
        self.levels: list[list[Bijector | ChannelRun]] = [[]]
        for step in steps:
            if isinstance(step, FactorOut):
                self.levels.append([])
            else:
                self.levels[-1].append(step)

    def is_of(self, layers: Iterable[Layer]) -> bool:
        """Whether these are the layers, and those of runs still made of the same parts."""
        return list(flat(layers)) == self.layers and all(group.as_it_was() for group in self.groups)

    def steps(self, maps: dict[nn.Module, AffineMap]) -> list[list[memory.Step]]:
        """Of each level."""
        return [[maps[step] if isinstance(step, ChannelRun) else step for step in level] for level in self.levels]

    def maps(self, like: Tensor, inverse: bool = False, keep: bool = True) -> Maps:
        """Of all runs, and the sum of their log-dets. In training, where numbers change at each step, none are kept."""
        maps: dict[nn.Module, AffineMap] = {}
        log_det = like.new_zeros(())
        with full_precision(like.device):
            for group in self.groups:
                of_group, term = group.maps(like.dtype, like.device, inverse, keep)
                maps.update(of_group)
                log_det = log_det + term
        return maps, log_det

    def maps_under(self, strategy: str, x: Tensor) -> Maps:
        """The forward ones. What they are computed from is not kept, unless under ``store``."""
        match strategy:
            case "reversible":
                *numbers, log_det = memory.recomputed_at_once(
                    lambda: _flattened(self.maps(x, keep=False)), self._parameters
                )
                maps = map(AffineMap, numbers[::2], numbers[1::2])
                return dict(zip((run for group in self.groups for run in group.runs), maps, strict=True)), log_det
            case "checkpoint":
                maps_again: Maps = memory.recomputed(self.maps, x, tensors=self._parameters)
                return maps_again
        return self.maps(x)

    def _parameters(self) -> dict[Tensor, None]:
        """Of runs, each once, those of tied layers too."""
        return dict.fromkeys(p for group in self.groups for run in group.runs for p in parameters(run))


class Plan:
    """Runs a list of layers: sorted into levels and channel runs once, and again where the list, or what a layer of a
    run is made of, has changed. It is no module, and adds nothing to a state_dict."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = layers
        self._forward, self._inverse = _forward, _inverse
        self._arrangement = Arrangement(layers)

    def _now(self) -> Arrangement:
        """Somebody may have put another layer in, or another part into one. A pass keeps to one arrangement."""
        now = self._arrangement
        if not torch.compiler.is_compiling() and not now.is_of(self._layers):
            now = self._arrangement = Arrangement(self._layers)
        return now

    def compile(self, **options: Any) -> None:
        """What runs the layers as one graph each way. Channel maps are computed outside of it: without gradients they
        are kept from pass to pass. A copy of the plan is not compiled. Raises FlowkitError without a C++ compiler."""
        self._forward, self._inverse = compiled(_forward, **options), compiled(_inverse, **options)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_forward": _forward, "_inverse": _inverse}

    def forward(
        self, x: Tensor, context: Tensor | None, strategy: str = "store", drift: memory.Drift | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """x -> (z_1, …, z_L) and log|det| [batch], under a memory strategy if there is a backward pass to come.

        Raises FlowkitError for ``reversible`` under torch.compile.
        """
        now = self._now()
        strategy = strategy if torch.is_grad_enabled() else "store"
        if self._forward is not _forward:
            any_batch(x, context)
        if self._forward is not _forward or torch.compiler.is_compiling():
            check_strategy(strategy)
        maps, log_det = now.maps_under(strategy, x)
        with torch.no_grad():
            inverses = now.maps(x, inverse=True, keep=False)[0] if strategy == "reversible" else {}
        back = [[inverses.get(step) for step in level] for level in now.levels]
        z, log_dets = self._forward(now.steps(maps), back, now.factor_outs, x, context, strategy, drift)
        return z, log_det + log_dets

    def inverse(self, latents: Sequence[Tensor], context: Tensor | None) -> tuple[Tensor, Tensor]:
        """(z_1, …, z_L) -> x and log|det| [batch] of this inverse map."""
        now = self._now()
        if self._inverse is not _inverse:
            any_batch(*latents, context)
        maps, log_det = now.maps(latents[-1], inverse=True)
        x, log_dets = self._inverse(now.steps(maps), now.factor_outs, latents, context)
        return x, log_det + log_dets


def _flattened(maps: Maps) -> list[Tensor]:
    """The numbers of each map, and the log-det."""
    of_runs, log_det = maps
    return [*(tensor for of_run in of_runs.values() for tensor in of_run), log_det]


def _forward(
    levels: list[list[memory.Step]],
    inverses: list[list[AffineMap | None]],
    factor_outs: list[FactorOut],
    x: Tensor,
    context: Tensor | None,
    strategy: str,
    drift: memory.Drift | None,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """x through the levels: (z_1, …, z_L), and log|det| [batch] of the bijectors."""
    latents, log_dets = [], []
    for steps, back, factor_out in zip_longest(levels, inverses, factor_outs):
        x, term = memory.run(strategy, steps, back, x, context, drift)
        log_dets.append(term)
        if factor_out is not None:
            x, z = factor_out.split(x)
            latents.append(z)
    return (*latents, x), torch.stack(log_dets).sum(0)


def _inverse(
    levels: list[list[memory.Step]], factor_outs: list[FactorOut], latents: Sequence[Tensor], context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(z_1, …, z_L) back through the levels, which have the inverse maps: x, and log|det| [batch] of the bijectors."""
    *left, x = latents
    log_dets = [x.new_zeros(x.shape[0])]
    for steps, factor_out in zip_longest(reversed(levels), reversed(factor_outs)):
        for step in reversed(steps):
            if isinstance(step, AffineMap):
                x = step(x)
                continue
            with precision_of(step, x.device):
                x, term = step.inverse_and_log_det(x, context)
            log_dets.append(term)
        if factor_out is not None:
            x = factor_out.merge(x, left.pop())
    return x, torch.stack(log_dets).sum(0)


def merged(layers: Iterable[L]) -> list[L | ChannelRun]:
    """The layers with each run of channel-linear neighbours as one ChannelRun, where that pays."""
    return [step for run in runs(layers) for step in (_merge(run) if len(run) > 1 else run)]


def frozen(layers: Iterable[L], dtype: torch.dtype, device: torch.device) -> list[L]:
    """The layers for inference: runs always merged, everything else frozen on its own."""
    return [
        ChannelRun(run).freeze(dtype, device) if is_channel_linear(run[0]) else run[0].freeze() for run in runs(layers)
    ]


def _merge(run: list[Any]) -> list[Any]:
    return [ChannelRun(run)] if run[0].event_shape[0] <= MERGE_UP_TO else run


def runs(layers: Iterable[Any]) -> list[list[Any]]:
    """Runs of neighbouring channel-linear layers; every other layer on its own. (torch.compile reads no groupby.)"""
    found: list[list[Any]] = []
    for layer in flat(layers):
        if found and is_channel_linear(layer) and is_channel_linear(found[-1][0]):
            found[-1].append(layer)
        else:
            found.append([layer])
    return found


def flat(layers: Iterable[Any]) -> Iterator[Any]:
    """The layers, those of compositions one by one."""
    for layer in layers:
        yield from flat(layer.layers) if _passes_as(layer, Composition) else (layer,)


def is_channel_linear(layer: Layer) -> bool:
    """Whether a layer is run as one affine map of the channels, merged with others."""
    return _passes_as(layer, ChannelLinear)


def _passes_as(layer: Layer, kind: type[Any]) -> bool:
    """Whether a layer is of this kind, and its passes are: a subclass may have its own."""
    passes = ("forward_and_log_det", "inverse_and_log_det")
    return isinstance(layer, kind) and all(getattr(type(layer), name) is getattr(kind, name) for name in passes)
