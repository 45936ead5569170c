"""Who computes in how many digits under autocast: networks in what it gives, everything else in the event's own."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from flowkit.flow.bijector import Bijector


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off, for maps, log-dets and densities. Where it is off anyway nothing is done."""
    kind = device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


def precision_of(layer: Bijector, device: torch.device) -> AbstractContextManager[object]:
    """What a layer is run in: full precision, unless it has networks in it and sees to the rest itself."""
    return nullcontext() if layer.handles_autocast else full_precision(device)
