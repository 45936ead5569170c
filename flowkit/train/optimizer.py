"""Builds the optimizers that a spec may name, and computes the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from flowkit.spec import Train

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),  # one kernel for all parameters, as even small flows have hundreds
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adamax": torch.optim.Adamax,
    "sgd": torch.optim.SGD,
}


def new_optimizer(settings: Train, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimizer that the settings name, at its peak learning rate."""
    name, lr, weight_decay = (getattr(settings.optimizer, key) for key in ("name", "lr", "weight_decay"))
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def learning_rate_factor(step: int, total: float, warmup: int, schedule: str, time_share: float = 0.0) -> float:
    """Return the share of the peak learning rate at a step, counted from 0. It grows linearly during the warm-up.

    After the warm-up it is 1, or follows a cosine from 1 to 0. The cosine ends after ``total`` steps, or when all of
    the time is used (``time_share`` is 1), whichever comes first.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    done = max((step - warmup) / max(1, total - warmup), time_share)
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))
