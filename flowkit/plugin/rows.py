"""Defines rows of an array that may be larger than the memory, and arrays in temporary files.

This module imports numpy, so it is imported only when data is loaded.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np

__all__ = ["Rows", "first_not_finite", "mapped", "row_indices", "shuffled_rows"]

CHUNK = 2**20
"""The approximate number of values that are read together."""
SMALL = 2**27
"""The most bytes of an array that may stay mapped."""
AT_ONCE = 64
"""Scattered rows that are read between giving back pages. Linux may map a huge page, 2 MB, around each."""


class Rows:
    """Some rows of an array, in some dtype, read when they are indexed: ``x[3:7]``, ``x[[5, 2]]``, ``x[:]``.

    Indexing gives a new array. If ``array`` is memory-mapped, the process stays small: pages that were read are given
    back to the kernel, which keeps them cached.

    Args:
        array: The array, [n, …].
        rows: The indices of the rows, or None for all.
        dtype: The dtype to which rows are converted when they are read, or None for that of the array.

    Examples:
        >>> import numpy as np
        >>> from flowkit.plugin import Rows
        >>> rows = Rows(np.arange(10).reshape(5, 2), np.array([4, 0]), np.float32)
        >>> rows.shape, rows[:].tolist()
        ((2, 2), [[8.0, 9.0], [0.0, 1.0]])
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray | None = None, dtype: np.dtype | type | None = None):
        self._array, self._rows = np.asarray(array), rows  # asarray: np.memmap's own indexing is slow
        self.dtype = np.dtype(dtype or array.dtype)
        self.shape: tuple[int, ...] = (len(array) if rows is None else len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = rows if self._rows is None else self._rows[rows]
        if isinstance(chosen, slice | int | np.integer) or len(chosen) <= AT_ONCE or self._spanned(chosen) <= SMALL:
            return self._read(chosen)
        pieces = range(0, len(chosen), AT_ONCE)
        return np.concatenate([self._read(chosen[start : start + AT_ONCE]) for start in pieces])

    def _spanned(self, rows: Any) -> int:
        """Return the number of bytes from the first to the last of some rows."""
        return int(np.max(rows) - np.min(rows) + 1) * self._array.itemsize * math.prod(self.shape[1:])

    def _read(self, rows: Any) -> np.ndarray:
        with np.errstate(over="ignore"):  # what overflows becomes infinity
            values = np.array(self._array[rows], self.dtype)
        if self._array.nbytes > SMALL:
            _give_back(self._array)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of these rows. They are read when they are indexed.

        Args:
            rows: Indices among these rows.
        """
        return Rows(self._array, rows if self._rows is None else self._rows[rows], self.dtype)

    def astype(self, dtype: np.dtype | type) -> Rows:
        """Return the same rows in another dtype. They are converted when they are read.

        Args:
            dtype: The dtype.
        """
        return Rows(self._array, self._rows, dtype)


def mapped(parts: Iterable[np.ndarray], dtype: np.dtype | type, mode: Literal["r", "r+"] = "r") -> np.ndarray:
    """Write arrays of one dtype to a temporary file, one after the other, and map the file.

    The file has no name, and goes with the array.

    Args:
        parts: The arrays.
        dtype: Their dtype.
        mode: ``"r"`` to read the array. With ``"r+"`` it can be changed, which changes the file.

    Returns:
        All values, [n]. Without any value there is no file, and the array is empty.
    """
    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(part.tobytes())
        if not file.tell():
            return np.empty(0, dtype)
        file.flush()
        return np.memmap(file, dtype, mode)


def row_indices(n: int) -> np.ndarray:
    """Return the indices 0 … n - 1, [n], which may be changed. Over a million of them are in a temporary file.

    Args:
        n: The number of rows.
    """
    if n <= CHUNK:
        return np.arange(n, dtype=np.int64)
    parts = (np.arange(start, min(start + CHUNK, n), dtype=np.int64) for start in range(0, n, CHUNK))
    return np.asarray(mapped(parts, np.int64, "r+"))  # asarray: numpy shuffles and sorts an np.memmap slowly


def shuffled_rows(n: int, generator: np.random.Generator | np.random.RandomState) -> np.ndarray:
    """Return what ``generator.permutation(n)`` does, without holding many rows in memory.

    Args:
        n: The number of rows.
        generator: The generator that draws the permutation.
    """
    rows = row_indices(n)
    generator.shuffle(rows)
    return rows


def chunks(array: np.ndarray | Rows) -> Iterator[tuple[int, np.ndarray]]:
    """Yield all rows in order, about ``CHUNK`` values at a time, each part with the index of its first row."""
    step = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def first_not_finite(array: np.ndarray | Rows) -> int | None:
    """Return the index of the first row that holds NaN or infinity, or None.

    Args:
        array: The array, [n, …]. It is read piece by piece.
    """
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
