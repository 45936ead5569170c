"""What a training step costs apart from time: operators, bytes saved for the backward pass, peak memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

MB = 1e6


def cost(step: Callable[[], Any], module: nn.Module) -> dict[str, float]:
    """Of one training step: ``operators``, and ``saved`` and ``peak`` in MB."""
    with _on_cpu() as profiled:
        step()
    return {"operators": operators(profiled()), "saved": saved(step, module) / MB, "peak": peak(step) / MB}


def operators(events: list[dict[str, Any]]) -> int:
    """How many calls of ATen the processor made, one inside another counted too."""
    return sum(event["name"].startswith("aten::") for event in events if event.get("ph") == "X")


def saved(step: Callable[[], Any], module: nn.Module) -> int:
    """Bytes that the forward pass keeps for the backward pass: distinct storages, the module's own left out."""
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if torch._C._current_graph_task_id() == -1:  # else the backward pass computes something again
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(size for address, size in kept.items() if address not in own)


def peak(step: Callable[[], Any]) -> int:
    """The most bytes allocated at one time, beyond what was there before: gradients are in it, parameters are not."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with _on_cpu(profile_memory=True) as profiled:
        step()
    return max(event["args"]["Total Allocated"] for event in profiled() if event["name"] == "[memory]")


@contextmanager
def _on_cpu(profile_memory: bool = False) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Profiles what runs inside; afterwards the events of the trace."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=profile_memory) as profiler:
        yield lambda: _events(profiler)


def _events(profiler: profile) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory, "trace.json")
        profiler.export_chrome_trace(str(trace))
        return json.loads(trace.read_text())["traceEvents"]
