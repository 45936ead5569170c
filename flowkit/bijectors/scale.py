"""Defines scales with declared bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bounded_log_scale(t: Tensor, low: float, high: float) -> Tensor:
    """Return log s(t) for a scale s between ``low`` and ``high``, low < 1 < high. It is 0 with slope 1 at t = 0.

    It is a scaled and shifted tanh of t. For low = 1/high it is L tanh(t / L) with L = log high.
    """
    middle, half = math.log(high * low) / 2, math.log(high / low) / 2
    if middle == 0:  # low = 1/high, as usual: this takes two operators fewer
        return half * torch.tanh(t * (1 / half))
    start = -middle / half  # the tanh where log s = 0
    slope = 1 / (half * (1 - start**2))
    return middle + half * torch.tanh(slope * t + math.atanh(start))
