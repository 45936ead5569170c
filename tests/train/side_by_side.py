"""Trains a flow in fp64 for some steps, in one process or several, and notes the losses and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import read_spec
from flowkit.train.batches import shuffled
from flowkit.train.devices import connected
from flowkit.train.fit import _initialize
from flowkit.train.step import Fitting

SPEC: dict[str, Any] = {
    "flowkit": 1,
    "event": {"shape": [3]},
    "flow": [
        {"use": "glow/actnorm"},
        {
            "repeat": 2,
            "flow": [
                {"coupling": {"use": "spline/rational_quadratic"}, "conditioner": {"use": "glow/mlp", "hidden": 8}},
                {"use": "glow/conv1x1"},
            ],
        },
    ],
    "train": {"batch_size": 41, "optimizer": {"lr": 0.01}, "ema": 0.9, "clip_norm": 0.5},
}
"""No dropout, and no noise. Batches have an odd number of events."""

Steps = list[tuple[float, Tensor]]
"""The loss of each step, and the clipped gradients of all parameters in a row."""


def steps(overrides: tuple[str, ...], count: int) -> tuple[Steps, Tensor]:
    """Return the losses and gradients of the first steps, and the moving average of the weights after them."""
    torch.manual_seed(0)
    spec = read_spec(SPEC, overrides)
    flow = Flow.from_spec(spec).double()
    x = np.random.default_rng(0).normal(size=(130, 3)) * [1, 5, 0.1]
    data = Arrays(x + np.sin(x[:, ::-1]))
    _initialize(flow, next(shuffled(data, 41, 0, 0)))
    with connected(spec.train) as fabric:
        return _steps(Fitting(flow, spec.train, 3, fabric), data, count)


def _steps(fitting: Fitting, data: Arrays, count: int) -> tuple[Steps, Tensor]:
    batches = (batch for epoch in range(count) for batch in shuffled(data, 41, 0, epoch))
    noted: Steps = []
    for _ in range(count):
        fitting.training_step(next(batches))
        gradients = [p.grad.flatten().clone() for p in fitting.flow.parameters() if p.grad is not None]
        noted.append((fitting.losses[-1], torch.cat(gradients)))
    assert fitting.average is not None
    return noted, torch.cat([p.flatten() for p in fitting.average.flow.parameters()])
