"""The affine maps of all the channel-linear runs of a flow, computed at once for those that are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from contextlib import nullcontext
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from flowkit.flow.channel_linear import AffineMap, ChannelRun, positions, probe, read_off
from flowkit.flow.structure import holds_one_twice, made_of, structure

TOGETHER_UP_TO = 64
"""Channels up to which alike runs are computed together: there dispatch is what costs. torch's batched LU is silently
wrong from some 128 (pytorch issue 142815), and large matrices keep the cores busy one at a time."""

Maps = tuple[dict[nn.Module, AffineMap], Tensor]
"""The map of each run, and the log-det of all of them together, a scalar."""


_ONE_AT_A_TIME = RLock()
"""functional_call puts tensors into a module, which no other thread may read meanwhile."""


class AlikeRuns:
    """Runs that differ in nothing but their tensors' values, such as the steps of a ``repeat``."""

    def __init__(self, runs: Sequence[ChannelRun]) -> None:
        self.runs = runs
        self._made_of = self._parts()
        places = [_tensor_places(run) for run in runs]
        self._places = {name: [of_run[name] for of_run in places] for name in places[0]}
        few = runs[0].event_shape[0] <= TOGETHER_UP_TO
        self._together = len(runs) > 1 and few and bool(self._places) and not holds_one_twice(runs[0])
        self._shell = _shell(runs[0]) if self._together else None
        self._last: dict[tuple[torch.dtype, bool], tuple[dict[str, Tensor], Maps]] = {}

    def as_it_was(self) -> bool:
        """Whether the runs are still made of the same parts."""
        return self._parts() == self._made_of

    def _parts(self) -> list[list[object]]:
        return [made_of(layer) for run in self.runs for layer in run.layers]

    def maps(self, dtype: torch.dtype, device: torch.device, inverse: bool, keep: bool = True) -> Maps:
        """The map of each run, or of its inverse, and the sum of their log-dets.

        Without gradients, on a CPU, the last ones are used again while all parameters and buffers are equal to those
        that they were computed from. On a GPU comparing these would make it wait: nothing is used again.
        """
        if not keep or torch.is_grad_enabled() or device.type != "cpu" or _more_than_numbers():
            return self._compute(dtype, device, inverse)
        tensors, last = self._stacked(), self._last.get((dtype, inverse))
        if last is None or not all(torch.equal(tensor, last[0][name]) for name, tensor in tensors.items()):
            last = self._last[dtype, inverse] = (tensors, self._compute(dtype, device, inverse))
        return last[1]

    def _stacked(self) -> dict[str, Tensor]:
        """The parameters and buffers of all runs, [runs, …] by name."""
        return {name: torch.stack([holder[key] for holder, key in places]) for name, places in self._places.items()}

    def _compute(self, dtype: torch.dtype, device: torch.device, inverse: bool) -> Maps:
        rows, log_dets = self._apply(probe(self.runs[0].event_shape[0], dtype, device), inverse)
        matrices, offsets = read_off(rows)
        maps = (AffineMap(*pair) for pair in zip(matrices.unbind(), offsets.unbind(), strict=True))
        log_det = positions((1, *self.runs[0].event_shape)) * log_dets.sum()
        return dict(zip(self.runs, maps, strict=True)), log_det.to(device, dtype)

    def _apply(self, v: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """What every run makes of the rows v [n, c], [runs, n, c], and the log-dets [runs]."""
        if self._together and self.runs[0].batched:
            rows, log_dets = self._with(self._stacked(), v, inverse)
            return rows.expand(len(self.runs), *v.shape), log_dets.expand(len(self.runs))
        if self._together:
            try:
                return torch.vmap(lambda own: self._with(own, v, inverse))(self._stacked())
            except (RuntimeError, TypeError, ValueError):  # a plugin's layer may do what torch.vmap can't
                self._together = False
        each = [run(v, inverse) for run in self.runs]
        return torch.stack([rows for rows, _ in each]), torch.stack([log_det for _, log_det in each])

    def _with(self, tensors: dict[str, Tensor], v: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """What a run with these tensors makes of v."""
        with nullcontext() if torch.compiler.is_compiling() else _ONE_AT_A_TIME:
            assert self._shell is not None
            made: tuple[Tensor, Tensor] = functional_call(self._shell, tensors, (v, inverse))
            return made


def alike(runs: Iterable[ChannelRun]) -> list[AlikeRuns]:
    """The runs in groups of those that are alike."""
    groups: dict[Hashable, list[ChannelRun]] = defaultdict(list)
    for run in runs:
        groups[structure(run)].append(run)
    return [AlikeRuns(group) for group in groups.values()]


def _more_than_numbers() -> bool:
    """Whether tensors may stand for more than their numbers: for tangents, for a batch, in a graph."""
    compiling = torch.compiler.is_compiling()
    return compiling or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _shell(module: nn.Module) -> nn.Module:
    """A module that computes the same from tensors that it is given; it has none, and others don't know of it."""
    shell = object.__new__(type(module))
    tensors = {
        held: {name: t if t is None else torch.empty(0) for name, t in vars(module)[held].items()}
        for held in ("_parameters", "_buffers")
    }
    parts = {name: part if part is None else _shell(part) for name, part in module._modules.items()}
    vars(shell).update(vars(module) | tensors | {"_modules": parts})
    return shell


def _tensor_places(run: ChannelRun) -> dict[str, tuple[dict[str, Any], str]]:
    """For the name of each parameter and buffer: the dict that holds it, whatever is put there later, and the key."""
    return {
        f"{name}.{key}": (held, key)
        for name, module in run.named_modules()
        for held in (module._parameters, module._buffers)
        for key, tensor in held.items()
        if tensor is not None
    }
