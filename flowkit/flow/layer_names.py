"""Names the layers of a flow for messages, and finds the first layer whose output isn't finite."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.bijectors import FactorOut
from flowkit.bijectors.composition import autocast_of, flat, runs
from flowkit.flow import inputs
from flowkit.flow.building import named_layers
from flowkit.flow.flow import Flow


def frozen_names(flow: Flow) -> list[str]:
    """Name each layer of ``flow.freeze()`` after the layers that were merged into it."""
    names = {id(part): name for name, layer in named_layers(flow.layers, flow.spec) for part in flat([layer])}
    return [", ".join(names[id(layer)] for layer in run) for run in runs(flow.layers)]


@torch.no_grad()
def first_nonfinite(flow: Flow, x: Tensor, context: Tensor | None = None) -> str | None:
    """Name the first layer with a non-finite output or log-det for this batch of events.

    The context and its encoder come before the layers. Return None if all is finite.
    """
    inputs.check_shape(x, flow.event_shape)
    given = flow.encode_context(context, x)
    if given is not None and not given.isfinite().all():
        named = f"the encoder of the context ({type(flow.encoder).__name__})"
        return "the context itself" if flow.encoder is None else named
    for name, layer in named_layers(flow.layers, flow.spec):
        if isinstance(layer, FactorOut):
            x, _ = layer.take_out(x)
            continue
        with autocast_of(layer, x.device):
            x, log_det = layer.forward_and_log_det(x, given)
        if not (x.isfinite().all() and log_det.isfinite().all()):
            return name
    return None
