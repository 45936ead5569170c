"""Graphs whose networks are kept in 16 bits. Channel maps, transformers, log-dets and densities stay in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from flowkit.bijectors import Conditioner, Coupling
from flowkit.flow import Flow

Precision = Literal["float32", "float16", "bfloat16"]

COMPUTED_IN: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.float32,
}
"""What networks of this precision round to as they compute."""


def in_precision(flow: Flow, precision: Precision) -> Flow:
    """The fp32 flow, the conditioners of its couplings in this precision."""
    if precision != "float32":
        wrap = {"float16": HalfNetwork, "bfloat16": RoundedNetwork}[precision]
        for module in list(flow.modules()):
            if isinstance(module, Coupling):
                module.conditioner = wrap(module.conditioner)
    return flow


class HalfNetwork(Conditioner):
    """A network that computes in fp16, from fp32 to fp32."""

    def __init__(self, network: Conditioner) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        return self.network(kept.half(), None if context is None else context.half()).float()


class RoundedNetwork(Conditioner):
    """A network whose weights are bf16, and computed with in fp32: onnxruntime has no bf16 convolution on a CPU."""

    def __init__(self, network: Conditioner) -> None:
        super().__init__()
        self.network = network.bfloat16()

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        tensors = dict([*self.network.named_parameters(), *self.network.named_buffers()])
        raised = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
        return functional_call(self.network, raised, (kept, context))
