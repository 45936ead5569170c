"""The range of arrays, and what it says about them, read in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flowkit.errors import DataError

CHUNK = 2**22
"""Values that are looked at together."""
BYTE = 255


@dataclass(frozen=True)
class Values:
    """Of each position of an event the least and the largest value, [*event]; and how fine the values are."""

    low: np.ndarray
    high: np.ndarray
    whole: bool
    """Every value is an integer, whatever its type."""
    bytes_over_255: bool
    """Every value is k/255, k an integer."""

    @property
    def dtype(self) -> np.dtype:
        return self.low.dtype

    @property
    def integers(self) -> bool:
        return self.dtype.kind in "iu"

    @property
    def lowest(self) -> float:
        return self.low.min().item()

    @property
    def highest(self) -> float:
        return self.high.max().item()

    @property
    def constants(self) -> int:
        """How many positions have the same value in every event."""
        return int((self.low == self.high).sum())


def measure(parts: Sequence[np.ndarray], where: str) -> Values:
    """Of arrays [n, *event] of numbers, n > 0. Raises DataError at the first row that isn't finite in float32."""
    low, high = parts[0][0], parts[0][0]
    whole = bytes_over_255 = True
    for chunk in _chunks(parts, where):
        low, high = np.minimum(low, chunk.min(0)), np.maximum(high, chunk.max(0))
        whole = whole and bool((chunk == np.rint(chunk)).all())
        bytes_over_255 = bytes_over_255 and bool((np.abs(chunk * BYTE - np.rint(chunk * BYTE)) < 1e-3).all())
    return Values(np.asarray(low), np.asarray(high), whole, bytes_over_255)


def _chunks(parts: Sequence[np.ndarray], where: str) -> Iterator[np.ndarray]:
    row = 0
    for part in parts:
        rows = max(1, CHUNK // max(1, math.prod(part.shape[1:])))
        for start in range(0, len(part), rows):
            chunk = np.asarray(part[start : start + rows])
            if chunk.dtype.kind == "f":
                fits = (np.abs(chunk) <= np.finfo(np.float32).max).reshape(len(chunk), -1).all(axis=1)
                if not fits.all():
                    bad = row + int(fits.argmin())
                    raise DataError(f"{where}: row {bad} (the first is 0) holds NaN, infinity or more than float32 can")
            yield chunk
            row += len(chunk)
