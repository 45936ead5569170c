"""flowkit's contenders: one spec, run in different ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Density, perturb
from flowkit.flow import Flow


@dataclass
class Ours(Density):
    """A flow of flowkit, through its public methods only."""

    compiled: bool = False

    def start(self, x: Tensor) -> None:
        self.module.to(x.device)
        self.module.initialize(x)
        perturb(self.module)
        if self.compiled:
            self.module.compile()


def ours(
    spec: dict[str, Any], memory: str = "store", compiled: bool = False, precision: torch.dtype = torch.float32
) -> Ours:
    """The flow of a spec, in one of the ways to run it."""
    flow = Flow.from_spec({"flowkit": 1, **spec})
    flow.memory = memory

    def cast() -> torch.autocast:
        return torch.autocast(flow.device.type, precision, enabled=precision != torch.float32)

    def log_prob(x: Tensor) -> Tensor:
        with cast():
            return flow(x)

    def sample(n: int) -> Tensor:
        with cast():
            return flow.sample(n)

    memory_format = torch.channels_last if len(flow.event_shape) == 3 else torch.preserve_format
    return Ours(flow, log_prob, sample, lambda x: _flat(flow.encode(x)), memory_format, compiled)


def _flat(latents: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([z.flatten(1) for z in latents], 1)
