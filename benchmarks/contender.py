"""What is timed: a density with its training step, its log_prob and its sampling, whichever library it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

TASKS = ("train", "log_prob", "sample")


class Contender(Protocol):
    """One row of a table."""

    module: nn.Module | None
    """What has its parameters, if torch has."""

    @property
    def parameters(self) -> int:
        """How many it learns."""

    def start(self, x: Tensor) -> None:
        """What comes before the first step: data-dependent initialization, compilation."""

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        """The step of one of TASKS on the batch x, ready to be timed. NotImplementedError: it has no such task."""


def peer(name: str, group: str) -> Callable[[Any], Density]:
    """Return the builder of a peer's module for a group of benchmarks.

    The peer is imported when the builder is called, as it may not be installed.
    """
    return lambda setting: getattr(import_module(f"benchmarks.peers.in_{name}"), group)(setting)


@dataclass
class Density:
    """A torch module with the library's own way to ask it for log_prob, samples and latents."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor] | None = None
    latents: Callable[[Tensor], Tensor] | None = None
    """x [batch, *event] -> all latents [batch, D], where the prior is standard normal."""
    memory_format: torch.memory_format = torch.preserve_format
    """Of weights and data; by default they come in torch's own."""

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    def start(self, x: Tensor) -> None:
        """The peers initialize at the first batch that they see in training mode."""
        self.module.to(x.device, memory_format=self.memory_format)
        with torch.no_grad():
            self.log_prob(x)
        perturb(self.module)

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        self.module.train(task == "train")
        if self.memory_format == torch.channels_last:
            x = x.contiguous(memory_format=self.memory_format)
        if task == "train":
            return lambda: self._train(x)
        if task == "sample" and self.sample is None:
            raise NotImplementedError("does not sample")
        return torch.no_grad()(lambda: self.log_prob(x) if task == "log_prob" else self.sample(len(x)))

    def _train(self, x: Tensor) -> None:
        """Forward and backward of mean(-log_prob); no optimizer, which is the same for all."""
        (-self.log_prob(x).mean()).backward()
        self.module.zero_grad(set_to_none=True)


@torch.no_grad()
def perturb(module: nn.Module, std: float = 0.01, seed: int = 0) -> None:
    """Add noise to every parameter: a flow at its start is a rotation, with networks that give 0."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        if p.requires_grad:
            p.add_(std * torch.randn(p.shape, generator=generator).to(p))
