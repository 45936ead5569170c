"""Whether a layer can be traced by torch.export with a batch size left open, as ONNX graphs need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flowkit.plugin.failure import in_a_line

ADVICE = "does it branch on values, or use len(x) or int(x.shape[0])?"


class Method(nn.Module):
    """One method of a module, of one or two tensors, as a module."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, first: Tensor, second: Tensor | None = None) -> Any:
        method = getattr(self.module, self.method)
        return method(first) if second is None else method(first, second)


def why_untraceable(module: nn.Module, inputs: tuple[Tensor, ...]) -> str | None:
    """What torch.export says against the module, or None. ``inputs`` have 3 rows: it takes 0 and 1 for constants."""
    batch = torch.export.Dim("batch")
    try:
        torch.export.export(module, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    except Exception as error:  # the exporter's errors share no narrower base
        return f"{in_a_line(error)} ({ADVICE})"
    return None
