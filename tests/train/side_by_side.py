"""Trains a flow in fp64 for some steps, in one process or several, and notes the losses and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Spec, read_spec
from flowkit.train.batches import shuffled
from flowkit.train.devices import connected
from flowkit.train.fit import _initialize
from flowkit.train.launching import launch
from flowkit.train.sharding import undivided
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


def differences(overrides: tuple[str, ...], count: int) -> tuple[float, float, float]:
    """Return the largest differences from one process: of losses, of gradients, and of the average of the weights."""
    return compared(overrides, count)[:3]


def compared(overrides: tuple[str, ...], count: int) -> tuple[float, float, float, dict[str, float]]:
    """Return these differences, and the shares of the elements of one process that the first of several keeps."""
    expected, expected_average, whole = steps((), count)
    settings = read_spec(SPEC, overrides).train
    call = launch if settings.devices > 1 else lambda _, function, *arguments: function(*arguments)
    found, average, kept = call(settings, steps, overrides, count)
    losses = max(abs(one - two) for (one, _), (two, _) in zip(expected, found, strict=True))
    gradients = max(float((one - two).abs().max()) for (_, one), (_, two) in zip(expected, found, strict=True))
    shares = {name: kept[name] / whole[name] for name in whole}
    return losses, gradients, float((expected_average - average).abs().max()), shares


def new_flow(spec: Spec) -> Flow:
    """Return the flow in fp64, initialized on the first batch."""
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).double()
    flow.memory = spec.train.memory
    _initialize(flow, next(shuffled(data(), 41, 0, 0)))
    return flow


def data() -> Arrays:
    """Return 130 events."""
    x = np.random.default_rng(0).normal(size=(130, 3)) * [1, 5, 0.1]
    return Arrays(x + np.sin(x[:, ::-1]))


def steps(overrides: tuple[str, ...], count: int) -> tuple[Steps, Tensor, dict[str, int]]:
    """Return the losses and gradients of the first steps, the moving average of the weights after them, and `_kept`."""
    spec = read_spec(SPEC, overrides)
    flow = new_flow(spec)
    with connected(spec.train) as fabric:
        fitting = Fitting(flow, spec.train, 3, fabric)
        return *_steps(fitting, count), _kept(fitting)


def _kept(fitting: Fitting) -> dict[str, int]:
    """Return the numbers of elements that this process keeps after a step."""
    assert fitting.average is not None
    kept = {
        "weights": list(fitting.flow.parameters()),
        "gradients": [parameter.grad for parameter in fitting.flow.parameters()],
        "average": list(fitting.average.flow.parameters()),
        "optimizer": [state["exp_avg"] for state in fitting.optimizer.state.values()],
    }
    return {name: sum(map(_elements, tensors)) for name, tensors in kept.items()}


def _elements(tensor: Tensor) -> int:
    return (tensor.to_local() if hasattr(tensor, "to_local") else tensor).numel()


def peak(overrides: tuple[str, ...]) -> int:
    """Return the most bytes that the first process has on its GPU in steps after the first one."""
    spec = read_spec(SPEC, overrides)
    flow = new_flow(spec)
    with connected(spec.train) as fabric:
        fitting = Fitting(flow, spec.train, 3, fabric)
        _steps(fitting, 1)
        torch.cuda.reset_peak_memory_stats()
        _steps(fitting, 2)
        return torch.cuda.max_memory_allocated()


def _steps(fitting: Fitting, count: int) -> tuple[Steps, Tensor]:
    batches = (batch for epoch in range(count) for batch in shuffled(data(), 41, 0, epoch))
    noted: Steps = []
    for _ in range(count):
        fitting.training_step(next(batches))
        gradients = [undivided(p.grad).flatten().clone() for p in fitting.flow.parameters() if p.grad is not None]
        noted.append((fitting.losses[-1], torch.cat(gradients)))
    assert fitting.average is not None
    return noted, torch.cat([undivided(p).flatten() for p in fitting.average.flow.parameters()])
