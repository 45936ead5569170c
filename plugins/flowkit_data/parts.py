"""Divides n rows into training, validation and test parts, in the same way in every run."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import PartName


def rows_of(part: PartName, n: int, fractions: tuple[float, float, float]) -> np.ndarray:
    """Return the rows of one part, in ascending order. Every row belongs to exactly one part."""
    # numpy guarantees that RandomState's streams never change; those of newer generators may change with a release
    order = np.random.RandomState(0).permutation(n)
    train = int(n * fractions[0])
    val = train + round((n - train) * fractions[1] / (fractions[1] + fractions[2]))
    start, stop = {"train": (0, train), "val": (train, val), "test": (val, n)}[part]
    return np.sort(order[start:stop])
