"""Recognizes columns of a table whose values lie on a circle, such as hours and directions."""

from __future__ import annotations

import re

from flowkit.starting.columns import Seen

CIRCLES: tuple[tuple[set[str], float, float, float], ...] = (
    ({"hour", "hr"}, 0, 24, 24),
    ({"minute"}, 0, 60, 60),
    ({"month"}, 1, 12, 12),
    ({"weekday", "dayofweek", "dow"}, 0, 7, 7),
    ({"dayofyear", "doy", "yearday"}, 0, 366, 365.25),
    ({"angle", "azimuth", "bearing", "heading", "direction", "dir", "longitude", "lon"}, -180, 360, 360),
)
"""Words in the names of columns whose values lie on a circle, their least and largest value, and its length."""


def period_of(column: Seen) -> float | None:
    """Return the length of the circle that a column of numbers lies on, by its name and its range, or None."""
    if column.kind != "number":
        return None
    words = set(re.split(r"[^a-z]+", column.name.lower()))
    for names, low, high, period in CIRCLES:
        if words & names and low <= column.low and column.high <= high and column.high - column.low > period / 2:
            return period
    return None
