"""Divides rows into training, validation and test parts, in the same way in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowkit.plugin import PARTS, DataError, PartName
from flowkit.plugin.rows import shuffled_rows
from flowkit_runtime.errors import RowError, shortened
from flowkit_runtime.values import as_days, as_numbers, as_text, plain_array

MAX_COUNTED = 10_000
"""The most rows that a message says are needed."""

Shares = tuple[float, float, float]
"""The shares of the training, validation and test parts."""


def rows_of_parts(n: int, fractions: Shares) -> dict[PartName, np.ndarray]:
    """Return the rows of each part, in ascending order. Every row belongs to exactly one part."""
    return _in_order(_cut(_shuffled(n), fractions))


def check_enough(n: int, fractions: Shares, where: str) -> None:
    """Raise DataError if n rows are too few for three parts of these shares. ``where`` is what messages call them."""
    if all(_sizes(n, fractions)):
        return
    least = next((each for each in range(n + 1, MAX_COUNTED) if all(_sizes(each, fractions))), None)
    needed = str(least) if least else f"more than {MAX_COUNTED:,}"
    shares = ", ".join(f"{share:g}" for share in fractions)
    rows = f"{n} row{'s' * (n != 1)}"
    parts = f"three parts of the fractions [{shares}]"
    raise DataError(f"{where} has {rows}, and {needed} rows are needed for {parts}: add rows, or set other fractions")


@dataclass(frozen=True)
class Division:
    """Divides the rows of a table.

    Attributes:
        fractions: the shares of the parts.
        split: a column that names the part of each row.
        group: a column whose values stay together.
        time: a column that orders the rows: the first are trained on, the last are the test part.
    """

    fractions: Shares
    split: str | None = None
    group: str | None = None
    time: str | None = None

    @property
    def advice(self) -> str:
        """The end of the message for a part without rows, which says what to change."""
        if self.column is None:
            return ": set other fractions, or name a file for it"
        return (
            f": column {self.column!r} has too few different values" if self.group else f": see column {self.column!r}"
        )

    @property
    def column(self) -> str | None:
        """The column that has to be read; None if the rows are divided by a fixed permutation."""
        return self.split or self.group or self.time

    def keys(self, values: Any, rows: np.ndarray) -> list[Any]:
        """Return what is needed of the column, an Arrow array with the values of these rows."""
        assert self.column is not None
        keys = _moments(values, self.column, rows) if self.time else as_text(values, self.column)
        for row, key in zip(rows, keys, strict=True):
            if key is None or key != key or (self.split and key not in PARTS):  # NaN is not equal to itself
                wanted = f"one of {', '.join(PARTS)}" if self.split else "a value"
                place = f"column {shortened(repr(self.column))} of row {row}"
                raise DataError(f"data/table: {place} has {shortened(repr(key))} instead of {wanted}")
        return keys

    def parts(self, n: int, keys: Sequence[Any], elsewhere: Sequence[PartName] = ()) -> dict[PartName, np.ndarray]:
        """Return the rows of each part, in ascending order. Parts that are ``elsewhere`` get none."""
        if self.split:
            named = np.array(keys)
            return {part: np.flatnonzero(named == part) for part in PARTS}
        shares = [0.0 if part in elsewhere else share for part, share in zip(PARTS, self.fractions, strict=True)]
        train, val, test = (share / sum(shares) for share in shares)
        if self.group:
            return _whole_groups(np.unique(keys, return_inverse=True)[1], (train, val, test))
        order = np.argsort(keys, kind="stable") if self.time else _shuffled(n)
        return _in_order(_cut(order, (train, val, test)))


def _shuffled(n: int) -> np.ndarray:
    """Return a fixed permutation of n rows."""
    # numpy guarantees that RandomState's streams never change; those of newer generators may change with a release
    return shuffled_rows(n, np.random.RandomState(0))


def _in_order(parts: dict[PartName, np.ndarray]) -> dict[PartName, np.ndarray]:
    """Sort the rows of each part in place, since they may be too many for a copy. Return the parts."""
    for rows in parts.values():
        rows.sort()
    return parts


def _cut(order: np.ndarray, fractions: Shares) -> dict[PartName, np.ndarray]:
    """Divide rows in this order: the first are trained on, the last are the test part."""
    train, val, _ = _sizes(len(order), fractions)
    return {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}


def _sizes(n: int, fractions: Shares) -> tuple[int, int, int]:
    """Return the numbers of rows of the three parts."""
    train = int(n * fractions[0])
    rest = fractions[1] + fractions[2]
    val = round((n - train) * fractions[1] / rest) if rest else 0
    return train, val, n - train - val


def _whole_groups(group: np.ndarray, fractions: Shares) -> dict[PartName, np.ndarray]:
    """Divide rows by their group, [n], so that the parts have about these shares of the rows."""
    order = _shuffled(int(group.max()) + 1)
    sizes = np.bincount(group)[order]
    middle = (np.cumsum(sizes) - sizes / 2) / len(group)  # where a group lies among all rows
    part = np.empty(len(order), int)
    part[order] = np.searchsorted([fractions[0], fractions[0] + fractions[1]], middle)
    return {name: np.flatnonzero(part[group] == index) for index, name in enumerate(PARTS)}


def _moments(values: Any, name: str, rows: np.ndarray) -> list[float]:
    """Return a column of times or numbers, which has the values of these rows, as numbers. CSV gives texts."""
    import pyarrow as arrow

    values = plain_array(values)
    if arrow.types.is_string(values.type):
        try:
            values = values.cast(arrow.float64())
        except ValueError:  # from pyarrow
            return _days(values, name, rows)
    if arrow.types.is_temporal(values.type):
        return _days(values, name, rows)
    if arrow.types.is_boolean(values.type):
        raise DataError(f"data/table: column {shortened(repr(name))} holds true and false, neither times nor numbers")
    moments: list[float] = as_numbers(values, name).tolist()
    return moments


def _days(values: Any, name: str, rows: np.ndarray) -> list[float]:
    try:
        days: list[float] = as_days(values, name).tolist()
    except RowError:  # rows that lack a value aren't among these, so the row is another one
        for i, row in enumerate(rows):
            as_days(values.slice(i, 1), name, int(row))
        raise
    return days
