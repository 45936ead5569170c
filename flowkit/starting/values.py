"""Measures the range of arrays and how fine their values are. It reads them in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin import Rows
from flowkit.plugin.rows import chunks

MIN_STEPS = 256
"""The fewest float32 steps between the least and the largest value of continuous data."""


@dataclass(frozen=True)
class ValueRange:
    """The least and the largest value at each position of an event, [*event], and whether all there are whole."""

    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray
    bytes_over_255: bool
    """Every value is k/255, k = 0 … 255."""

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
    def constant(self) -> np.ndarray:
        """True at positions where every event has the same value, [*event]."""
        return self.low == self.high

    @property
    def spread(self) -> np.ndarray:
        """The largest minus the least value, [*event]."""
        return self.high.astype(np.float64) - self.low.astype(np.float64)

    @property
    def coarse(self) -> np.ndarray:
        """True at positions where float32, in which flows compute, can't tell MIN_STEPS values apart, [*event]."""
        step = np.spacing(np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float32))
        return self.spread < MIN_STEPS * step


def value_range(parts: Sequence[np.ndarray | Rows], where: str) -> ValueRange:
    """Return the range of arrays [n, *event], n > 0. Raise DataError at the first row that isn't finite in float32."""
    low = high = np.asarray(parts[0][0])
    whole, may_have_fractions = np.ones(low.shape, bool), np.zeros(low.shape, bool)
    bytes_over_255 = low.dtype.kind == "f"
    first = 0
    for part in parts:
        for start, chunk in chunks(part):
            low, high = np.minimum(low, chunk.min(0)), np.maximum(high, chunk.max(0))
            if chunk.dtype.kind == "f":
                _check_finite(chunk, first + start, where)
                whole &= (chunk == np.rint(chunk)).all(0)
                may_have_fractions |= (np.abs(chunk) < 1 / np.finfo(chunk.dtype).eps).any(0)
                bytes_over_255 = bytes_over_255 and _are_bytes_over_255(chunk)
        first += len(part)
    return ValueRange(low, high, whole & may_have_fractions, bytes_over_255)


def _check_finite(chunk: np.ndarray, first: int, where: str) -> None:
    fits = (np.abs(chunk) <= np.finfo(np.float32).max).reshape(len(chunk), -1).all(axis=1)
    if not fits.all():
        row = first + int(fits.argmin())
        what = "NaN, infinity, or more than float32 can hold"
        raise DataError(f"{where}: row {row} (counted from 0) holds {what}: leave such rows out")


def _are_bytes_over_255(chunk: np.ndarray) -> bool:
    times_255 = chunk * 255
    return bool(chunk.min() >= 0 and chunk.max() <= 1 and (np.abs(times_255 - np.rint(times_255)) < 1e-3).all())
