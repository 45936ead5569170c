"""Tolerances, and comparisons that say by how much two things differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LOG_DET_TOLERANCE = 1e-9
"""Relative (absolute below 1), of a log-det against autodiff, fp64."""
ROUND_TRIP_TOLERANCE = 1e-10
"""Absolute, fp64."""
MERGE_TOLERANCE = 1e-12
"""Relative to the largest value, of a merged run against its layers one by one, fp64."""


def equal_shapes(name: str, given: Sequence[int], expected: Sequence[int]) -> None:
    assert tuple(given) == tuple(expected), f"{name} has shape {list(given)}, not {list(expected)}"


def close(name: str, given: Tensor, expected: Tensor, tolerance: float) -> None:
    """NaN is close to nothing."""
    equal_shapes(name, given.shape, expected.shape)
    if given.numel():
        error = (given - expected).abs().max().item()
        assert error <= tolerance, f"{name}: off by {error:.3g}, more than {tolerance:.3g}"


def jacobian(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """∂ function / ∂ at, [outputs, inputs]. Not by torch.func, which refuses many a plugin's autograd.Function."""
    return torch.autograd.functional.jacobian(function, at).reshape(-1, at.numel())


def all_close(what: str, given: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, value in given.items():
        close(f"{name} {what}", value, expected[name], tolerance)
