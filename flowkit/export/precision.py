"""Keeps the networks of a flow in 16 bits. Channel maps, transformers, log-dets and densities stay in fp32."""

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
    "bfloat16": torch.float32,  # onnxruntime has no bf16 convolution on a CPU
}
"""The type in which networks of a precision compute. Their weights are kept in the type that the precision names."""


def in_precision(flow: Flow, precision: Precision) -> Flow:
    """Return the fp32 flow with the conditioners of its couplings in this precision."""
    if precision != "float32":
        for module in list(flow.modules()):
            if isinstance(module, Coupling):
                network = module.conditioner.to(getattr(torch, precision))
                module.conditioner = NetworkInPrecision(network, COMPUTED_IN[precision])
    return flow


class NetworkInPrecision(Conditioner):
    """A network that computes in another type than its weights and inputs may have, and gives fp32."""

    def __init__(self, network: Conditioner, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        tensors = dict([*self.network.named_parameters(), *self.network.named_buffers()])
        given = {name: t.to(self.dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        context = None if context is None else context.to(self.dtype)
        return functional_call(self.network, given, (kept.to(self.dtype), context)).float()
