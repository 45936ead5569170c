"""Names the layers of a flow for messages, and finds the first layer or base whose output isn't finite."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from flowkit.bijectors import Base, FactorOut, full_precision
from flowkit.bijectors.composition import autocast_of, flat, runs
from flowkit.domains import spelled
from flowkit.flow import inputs
from flowkit.flow.building import named_layers
from flowkit.flow.flow import Flow


def frozen_names(flow: Flow) -> list[str]:
    """Name each layer of ``flow.freeze()`` after the layers that were merged into it."""
    names = (name for name, layer in named_layers(flow.layers, flow.spec) for _ in flat([layer]))
    return [", ".join(islice(names, len(run))) for run in runs(flow.layers)]


@torch.no_grad()
def first_nonfinite(flow: Flow, x: Tensor, context: Tensor | None = None) -> str | None:
    """Name the first layer with a non-finite output or log-det for this batch of events.

    The context and its encoder come before the layers, and the bases behind them. Return None if all is finite.
    """
    inputs.check_shape(x, flow.event_shape)
    given = flow.encode_context(context, x)
    if given is not None and not given.isfinite().all():
        named = f"the encoder of the context ({type(flow.encoder).__name__})"
        return "the context itself" if flow.encoder is None else named
    latents = []
    for name, layer in named_layers(flow.layers, flow.spec):
        if isinstance(layer, FactorOut):
            x, latent = layer.take_out(x)
            latents.append(latent)
            continue
        with autocast_of(layer, x.device):
            x, log_det = layer.forward_and_log_det(x, given)
        if not (x.isfinite().all() and log_det.isfinite().all()):
            return name
    with full_precision(x.device):
        for base, z in zip(flow.bases, [*latents, x], strict=True):
            if not base.log_prob(z, given).isfinite().all():
                return _with_range(base, z)
    return None


def _with_range(base: Base, z: Tensor) -> str:
    """Name a base, its support if it has bounds, and the range of the latents that reach it."""
    bounds = getattr(base, "bounds", None)
    support = "" if bounds is None else f" with the support {spelled(bounds)}"
    return f"the base distribution {type(base).__name__}{support}, which gets latents from {z.min():g} to {z.max():g}"
