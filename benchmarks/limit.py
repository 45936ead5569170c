"""The limit: the coupling networks alone, same shapes, nothing between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contender import perturb


@dataclass
class Networks:
    """The networks of a flow, each with the shape of what it reads, [*kept]; convolutions in channels_last."""

    networks: list[tuple[nn.Module, tuple[int, ...]]]
    precision: torch.dtype = torch.float32
    """In which they run; gradients are in fp32."""

    def __post_init__(self) -> None:
        self.module = nn.ModuleList(network for network, _ in self.networks)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def start(self, x: Tensor) -> None:
        perturb(self.module)
        image = len(self.networks[0][1]) == 3
        self.module.to(x.device, memory_format=torch.channels_last if image else torch.preserve_format)

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        """log_prob and sampling run every network once; training runs them backward too, to their inputs as well."""
        inputs = [_input(len(x), kept, x.device) for _, kept in self.networks]
        if task != "train":
            return torch.no_grad()(lambda: self._outputs(inputs))
        gradients = [torch.full_like(y, 1e-3) for y in torch.no_grad()(self._outputs)(inputs)]
        return lambda: self._train([x.detach().requires_grad_() for x in inputs], gradients)

    def _train(self, inputs: list[Tensor], gradients: list[Tensor]) -> None:
        torch.autograd.backward(self._outputs(inputs), gradients)
        self.module.zero_grad(set_to_none=True)

    def _outputs(self, inputs: list[Tensor]) -> list[Tensor]:
        with torch.autocast(inputs[0].device.type, self.precision, enabled=self.precision != torch.float32):
            return [network(x) for (network, _), x in zip(self.networks, inputs, strict=True)]


def _input(n: int, kept: tuple[int, ...], device: torch.device) -> Tensor:
    x = torch.randn(n, *kept, device=device)
    return x.contiguous(memory_format=torch.channels_last) if len(kept) == 3 else x
