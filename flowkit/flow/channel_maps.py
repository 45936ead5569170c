"""The affine maps of all the channel-linear runs of a flow, computed at once for those that are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowkit.flow.channel_linear import AffineMap, ChannelRun, positions, probe, read_off
from flowkit.flow.structure import structure

TOGETHER_UP_TO = 64
"""Channels up to which alike runs are computed together: there dispatch is what costs. torch's batched LU is silently
wrong from some 128 (pytorch issue 142815), and large matrices keep the cores busy one at a time."""

Maps = tuple[dict[nn.Module, AffineMap], Tensor]
"""The map of each run, and the log-det of all of them together, a scalar."""


class AlikeRuns:
    """Runs that differ in nothing but their tensors' values, such as the steps of a ``repeat``."""

    def __init__(self, runs: Sequence[ChannelRun]) -> None:
        self.runs = runs
        places = [_tensor_places(run) for run in runs]
        self._places = {name: [of_run[name] for of_run in places] for name in places[0]}
        self._together = len(runs) > 1 and runs[0].event_shape[0] <= TOGETHER_UP_TO and bool(self._places)
        self._last: dict[tuple[torch.dtype, bool], tuple[dict[str, Tensor], Maps]] = {}

    def maps(self, dtype: torch.dtype, device: torch.device, inverse: bool, keep: bool = True) -> Maps:
        """Of each run, or of its inverse. Without gradients the last ones are kept for as long as no number changes:
        compared are the numbers themselves, on a GPU, where that would make it wait, none are kept."""
        if not keep or torch.is_grad_enabled() or device.type != "cpu" or torch.compiler.is_compiling():
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
            rows, log_dets = functional_call(self.runs[0], self._stacked(), (v, inverse))
            return rows.expand(len(self.runs), *v.shape), log_dets.expand(len(self.runs))
        if self._together:
            try:
                return torch.vmap(lambda own: functional_call(self.runs[0], own, (v, inverse)))(self._stacked())
            except (RuntimeError, TypeError, ValueError):  # a plugin's layer may do what torch.vmap can't
                self._together = False
        rows, log_dets = zip(*(run(v, inverse) for run in self.runs), strict=True)
        return torch.stack(rows), torch.stack(log_dets)


def alike(runs: Iterable[ChannelRun]) -> list[AlikeRuns]:
    """The runs in groups of those that are alike."""
    groups: dict[Hashable, list[ChannelRun]] = defaultdict(list)
    for run in runs:
        groups[structure(run)].append(run)
    return [AlikeRuns(group) for group in groups.values()]


def _tensor_places(run: ChannelRun) -> dict[str, tuple[dict[str, Any], str]]:
    """For the name of each parameter and buffer: the dict that holds it, whatever is put there later, and the key."""
    return {
        f"{name}.{key}": (held, key)
        for name, module in run.named_modules()
        for held in (module._parameters, module._buffers)
        for key, tensor in held.items()
        if tensor is not None
    }
