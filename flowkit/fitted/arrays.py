"""Turns the data that Python code has into numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.flow.inputs import as_flowkit
from flowkit.plugin import Arrays
from flowkit_runtime.inputs import real


def as_arrays(x: Any, context: Any = None) -> Arrays:
    """Return events and contexts as numpy arrays of numbers.

    ``x`` and ``context`` are numpy arrays, tensors, or what numpy makes arrays of. Raises InputError if one doesn't
    hold real numbers. Labels are integers: ``numpy.unique(labels, return_inverse=True)[1]`` numbers others.
    """
    return Arrays(numbers("x", x), None if context is None else numbers("context", context))


def numbers(name: str, value: Any) -> np.ndarray:
    """Return a numpy array of integers or floats. False and True become 0 and 1. Raises InputError."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value  # numpy has no bfloat16
    array = as_flowkit(real, name, value)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
