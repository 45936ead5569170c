"""Keeps arrays that may be larger than the memory in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable

import numpy as np


def mapped(parts: Iterable[np.ndarray], dtype: np.dtype | type) -> np.ndarray:
    """Write arrays of one dtype to a temporary file, one after the other. Return all their values, [n], mapped.

    The file has no name, and goes with the array. Without any value there is no file, and the array is empty.
    """
    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(part.tobytes())
        if not file.tell():
            return np.empty(0, dtype)
        file.flush()
        return np.memmap(file, dtype, "r")
