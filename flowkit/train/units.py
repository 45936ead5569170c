"""Warns of data that lies far from 0, or whose scale is far from 1, where the flow doesn't correct that."""

from __future__ import annotations

import copy
import math
import warnings

import torch
from torch import Tensor

from flowkit.errors import DataWarning
from flowkit.flow import Flow

FAR = 10.0
"""The nats per value that a flow may begin behind a Gaussian.

A value that is 4.5 standard deviations from 0 in the base distribution costs as much. Of the specs in specs/, that with
planar layers begins 5.7 behind, and all others less than 1.
"""


@torch.no_grad()
def check_units(flow: Flow, x: Tensor, context: Tensor | None) -> None:
    """Warn if an initialized flow begins far behind a Gaussian with a mean and a scale for each channel.

    That Gaussian is the density of ``glow/actnorm`` alone.

    Args:
        flow: The flow.
        x: Events to train on, [batch, *event_shape].
        context: Their contexts.
    """
    plain = copy.deepcopy(flow).eval()  # a copy isn't compiled, which would take longer than this
    nats = plain.nll(x, context).double().mean().item() / math.prod(flow.event_shape)
    behind = nats - _gaussian_nats(x, flow.levels)
    if FAR < behind < math.inf:
        warnings.warn(
            f"the flow begins {behind:,.0f} nats per value behind a Gaussian: the data is far from 0, or its scale is "
            "far from 1, and nothing corrects that. Let the flow begin with `use: glow/actnorm`, after map/to_reals or "
            "glow/rescale if it has one",
            DataWarning,
            stacklevel=4,
        )


def _gaussian_nats(x: Tensor, levels: int | None) -> float:
    """Return the mean negative log-density per value of x, under Gaussians fitted to the channels of x itself.

    Integers get noise in [0, 1). Channels that never change, whose density has no bound, are left out.
    """
    variances = x.double().transpose(0, 1).flatten(1).var(1, correction=0) + (0.0 if levels is None else 1 / 12)
    log_variances = variances[variances > 0].log()
    return 0.5 * math.log(2 * math.pi * math.e) + (0.5 * log_variances.mean().item() if len(log_variances) else 0.0)
