"""Keeps the networks of a flow in 16 bits. Channel maps, transformers, log-dets and densities stay in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowkit.bijectors import Bijector, Conditioner
from flowkit.flow import Flow

Precision = Literal["float32", "float16", "bfloat16"]

COMPUTED_IN: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.float32,  # onnxruntime has no bf16 convolution on a CPU
}
"""The type in which networks of a precision compute. Their weights are kept in the type that the precision names."""


def in_precision(flow: Flow, precision: Precision) -> Flow:
    """Return the fp32 flow with its networks in this precision."""
    if precision != "float32":
        for layer, name, network in list(networks(flow)):
            setattr(layer, name, NetworkInPrecision(network.to(getattr(torch, precision)), COMPUTED_IN[precision]))
    return flow


def networks(flow: nn.Module) -> Iterator[tuple[Bijector, str, Conditioner]]:
    """Yield the networks that autocast reaches: the layer, the name of the conditioner in it, and the conditioner."""
    for layer in flow.modules():
        if isinstance(layer, Bijector) and layer.handles_autocast:
            for name, part in layer.named_children():
                if isinstance(part, Conditioner):
                    yield layer, name, part


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
