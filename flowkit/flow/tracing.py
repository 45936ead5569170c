"""Whether a layer can be traced by torch.export with a batch size left open, as ONNX graphs need."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowkit.flow.bijector import Bijector

ADVICE = "does it branch on values, or use len(x) or int(x.shape[0])?"


class Forward(nn.Module):
    """A bijector's forward direction as a module."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.bijector.forward_and_log_det(*inputs)


class Inverse(Forward):
    """A bijector's inverse direction as a module."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.bijector.inverse_and_log_det(*inputs)


def why_untraceable(bijector: Bijector, context: Tensor | None, dtype: torch.dtype) -> str | None:
    """What torch.export says against the first direction that it can't trace, or None. ``context`` has 3 rows."""
    batch = torch.export.Dim("batch")
    for direction, shape in ((Forward, bijector.event_shape), (Inverse, bijector.output_shape)):
        inputs = [t for t in (torch.zeros(3, *shape, dtype=dtype), context) if t is not None]
        shapes = {"inputs": tuple({0: batch} for _ in inputs)}
        try:
            torch.export.export(direction(bijector), tuple(inputs), dynamic_shapes=shapes)
        except Exception as error:  # the exporter's errors share no narrower base
            reason = str(error).strip().partition("\n")[0]
            return f"{direction.__name__.lower()}: {type(error).__name__}: {reason} ({ADVICE})"
    return None
