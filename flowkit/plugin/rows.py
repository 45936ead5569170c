"""Rows of an array that may be larger than the memory. It imports numpy, and so is imported once data is loaded."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

CHUNK = 2**20
"""About how many values are read together."""
MAPPED = 2**27
"""About how many bytes of a mapped file stay in memory between two reads."""
FAULT_AROUND = 2**16
"""Bytes that Linux maps around a byte that is read."""


class Rows:
    """Some rows of an array, in some dtype, read when they are indexed: ``x[3:7]``, ``x[[5, 2]]``, ``x[:]``.

    Indexing gives a new array. Where ``array`` is memory-mapped, the process stays small: pages that were read are
    given back to the kernel, which keeps them cached. ``rows`` are the indices of the rows, None for all.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray | None = None, dtype: np.dtype | type | None = None):
        self._array, self._rows = np.asarray(array), rows  # asarray: np.memmap's own indexing is slow
        self.dtype = np.dtype(dtype or array.dtype)
        self.shape: tuple[int, ...] = (len(array) if rows is None else len(rows), *array.shape[1:])
        self._row_bytes, self._mapped = array.itemsize * math.prod(array.shape[1:]), 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = rows if self._rows is None else self._rows[rows]
        with np.errstate(over="ignore"):  # what overflows becomes infinity
            values = np.array(self._array[chosen], self.dtype)
        count = len(values) if values.ndim == self.ndim else 1
        self._mapped += count * max(self._row_bytes, FAULT_AROUND)
        if self._mapped > MAPPED:
            _give_back(self._array)
            self._mapped = 0
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def astype(self, dtype: np.dtype | type) -> Rows:
        """The same rows in another dtype, converted as they are read."""
        return Rows(self._array, self._rows, dtype)


def chunks(array: np.ndarray | Rows) -> Iterator[tuple[int, np.ndarray]]:
    """All rows in order, about ``CHUNK`` values at a time, each part with the index of its first row."""
    step = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def first_not_finite(array: np.ndarray | Rows) -> int | None:
    """The index of the first row that holds NaN or infinity."""
    if array.dtype.kind not in "fc":
        return None
    for start, part in chunks(array):
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            return start + int(finite.argmin())
    return None


def _give_back(array: Any) -> None:
    """Unload the pages of a read-only mapped file; they are read again when they are needed.

    A mapping that can be written to may hold changes that are in no file, and is left alone.
    """
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(array, "madvise"):
        with memoryview(array) as view:
            readonly = view.readonly
        if readonly:
            array.madvise(mmap.MADV_DONTNEED)
