"""Looks at the columns of a table: what their values are, and how they are distributed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.preprocessing import as_days, as_numbers, as_text

MAX_CATEGORIES = 100
"""The most categories that a starting spec lists for a column."""
MAX_DIGITS = 6
"""The most decimals of values that are taken for steps of a grid."""
SAMPLE = 4096
"""The values that are kept of each batch, for quantiles."""


@dataclass
class Seen:
    """A column, as far as a starting spec has to know it."""

    name: str
    rows: int = 0
    missing: int = 0
    is_number: bool = True
    is_time: bool = True
    is_truth: bool = True
    """All values are true or false."""
    digits: int = 0
    """The decimals that all values have at most. There are more than MAX_DIGITS, if some have more."""
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    counts_rows: bool = True
    """Each value is the one before plus 1, as of an index."""
    texts: set[str] = field(default_factory=set)
    """The different values. There is one more than MAX_CATEGORIES, if there are more."""
    sample: list[np.ndarray] = field(default_factory=list)
    _last: float | None = None

    @property
    def kind(self) -> Literal["number", "time", "text"]:
        if self.is_truth:
            return "text"
        return "number" if self.is_number else "time" if self.is_time else "text"

    @property
    def present(self) -> int:
        """The number of values that aren't missing."""
        return self.rows - self.missing

    @property
    def mean(self) -> float:
        return self.total / max(1, self.present)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(0.0, self.squares / max(1, self.present)))

    @property
    def median(self) -> float:
        return float(np.median(np.concatenate(self.sample)))

    @property
    def most_common(self) -> tuple[float, float]:
        """The most common value, and its share."""
        values, counts = np.unique(np.concatenate(self.sample), return_counts=True)
        return float(values[counts.argmax()]), float(counts.max() / counts.sum())

    @property
    def step(self) -> float | None:
        """The step of the grid on which the values lie, of which many are the same; None if they aren't."""
        sample = np.concatenate(self.sample)
        if self.digits > MAX_DIGITS or (self.digits and len(np.unique(sample)) > len(sample) / 2):
            return None
        return float(f"1e-{self.digits}")

    def add(self, values: Any) -> None:
        """Look at more values, an Arrow array."""
        self.rows += len(values)
        self.missing += int(values.null_count)
        self._add_texts(values)
        present = values.drop_null()
        if not len(present):
            return
        numbers = _numbers(present)
        self.is_truth = self.is_truth and str(values.type) == "bool"
        self.is_number = self.is_number and numbers is not None
        days = None
        if not self.is_number and self.is_time:
            days = _days(present)
            self.is_time = days is not None
        found = numbers if self.is_number else days
        if found is not None:
            self._add_numbers(found)

    def _add_texts(self, values: Any) -> None:
        if len(self.texts) <= MAX_CATEGORIES:
            new = sorted({text for text in as_text(values.unique(), self.name) if text is not None} - self.texts)
            self.texts |= set(new[: MAX_CATEGORIES + 1 - len(self.texts)])

    def _add_numbers(self, numbers: np.ndarray) -> None:
        finite = numbers[np.isfinite(numbers)]  # NaN in a column of floats is a missing value
        self.missing += int(np.isnan(numbers).sum())
        if not len(finite):
            return
        seen = self.present - len(finite)
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        while self.digits <= MAX_DIGITS and not _are_whole(finite * 10.0**self.digits):
            self.digits += 1
        steps = np.diff(finite, prepend=finite[0] - 1 if self._last is None else self._last)
        self.counts_rows = self.counts_rows and bool((steps == 1).all())
        self._last = float(finite[-1])
        self._add_moments(finite, seen)
        self.sample.append(finite[:: max(1, len(finite) // SAMPLE)])

    def _add_moments(self, values: np.ndarray, seen: int) -> None:
        """Update the sum and the sum of squared deviations, by the formula of Chan, Golub and LeVeque (1979)."""
        own, n = float(values.sum()), len(values)
        self.squares += float(((values - own / n) ** 2).sum())
        if seen > 0:
            self.squares += (self.total / seen - own / n) ** 2 * seen * n / (seen + n)
        self.total += own


def see(batches: Iterable[Mapping[str, Any]]) -> list[Seen]:
    """Look at all columns of a table. A batch has Arrow arrays by name."""
    seen: dict[str, Seen] = {}
    for batch in batches:
        for name, values in batch.items():
            seen.setdefault(name, Seen(name)).add(values)
    return list(seen.values())


def _are_whole(values: np.ndarray) -> bool:
    """Return True if all values are whole but for rounding."""
    return bool((np.abs(values - np.rint(values)) <= 1e-6 + 1e-15 * np.abs(values)).all())


def _numbers(values: Any) -> np.ndarray | None:
    """Return values as numbers, None if they aren't. CSV gives texts."""
    try:
        return as_numbers(values.cast("float64") if str(values.type).endswith("string") else values, "")
    except (ValueError, FlowRuntimeError):  # from pyarrow, and from us
        return None


def _days(values: Any) -> np.ndarray | None:
    try:
        return as_days(values, "")
    except FlowRuntimeError:
        return None
