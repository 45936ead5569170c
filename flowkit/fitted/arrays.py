"""Turns the data that Python code has into numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.errors import InputError
from flowkit.plugin import Arrays


def as_arrays(x: Any, context: Any = None) -> Arrays:
    """Return events and contexts as numpy arrays of numbers.

    ``x`` and ``context`` are numpy arrays, tensors, or what ``numpy.asarray`` makes arrays of. Raises InputError if one
    doesn't hold numbers.
    """
    return Arrays(as_array("x", x), None if context is None else as_array("context", context))


def as_array(name: str, value: Any) -> np.ndarray:
    """Return a numpy array of integers or floats. Raises InputError if ``value`` is something else."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    try:
        array = np.asarray(value)
    except Exception as error:  # rows of different lengths, or the value's own code
        raise InputError(f"{name} can't be made a numpy array ({error}): give numbers, one row an event") from error
    if array.dtype.kind in "iuf":
        return array
    advice = {
        "b": f"give {name}.astype('uint8')",
        "c": "give the real and the imaginary part as values of their own",
        "U": f"number the labels, as numpy.unique({name}, return_inverse=True)[1] does",
        "O": "give rows of one length that hold numbers only",
    }
    raise InputError(f"{name} holds {array.dtype}, not numbers: {advice.get(array.dtype.kind, advice['O'])}")
