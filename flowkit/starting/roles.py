"""Recognizes columns of a table by their names: the weight and the class of a row, and values on a circle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowkit.errors import DataError
from flowkit.starting.columns import MAX_LISTED, Seen
from flowkit_runtime.columns import Column
from flowkit_runtime.errors import shortened
from flowkit_runtime.preprocessing import class_names

MOSTLY_MISSING = 0.5
"""The share of missing values above which a column is left out."""
OWN = 0.5
"""A column with more categories than this share of its rows is left out."""
WEIGHTS = re.compile(r"(sample|row|case|survey|importance)[ _-]?weights?|weights", re.IGNORECASE)
"""The names of columns that are taken for the weights of rows."""
WEIGHT = re.compile(r"weight", re.IGNORECASE)
"""A name that may also be that of something measured. It is taken for a weight if the mean is 1."""
LABELS = re.compile(r"labels?|class|target|species", re.IGNORECASE)
"""The names of columns that are taken for the class of a row."""
FEW = 20
"""The most classes of a label that wasn't named."""

CIRCLES: tuple[tuple[set[str], float, float, float], ...] = (
    ({"hour", "hr"}, 0, 24, 24),
    ({"minute"}, 0, 60, 60),
    ({"month"}, 1, 12, 12),
    ({"weekday", "dayofweek", "dow"}, 0, 7, 7),
    ({"dayofyear", "doy", "yearday"}, 0, 366, 365.25),
    ({"angle", "azimuth", "bearing", "heading", "direction", "dir", "longitude", "lon"}, -180, 360, 360),
)
"""Words in the names of columns whose values lie on a circle, their least and largest value, and its length."""


@dataclass(frozen=True)
class Choice:
    """A column of the table, and the reason for its role. ``column`` is None if it was left out."""

    name: str
    reason: str
    column: Column | None = None
    domain: Any = "real"
    """The domain of a value of the event, as specs write it."""
    apparent: Any = None
    """The narrower domain in which the values of the data lie; None if there is no other than ``domain``."""
    doubt: str = ""
    """The reason why the column may not be fit for a density."""


def ambiguous_weights(seen: Sequence[Seen]) -> list[str]:
    """Return what to say of columns that may hold the weights of rows, or something measured."""
    return [
        f"column {column.name} is a value of the event: if it is the weight of a row, name it as the weight"
        for column in seen
        if WEIGHT.fullmatch(column.name.strip()) and not _no_weight(column)
    ]


def named_weight(seen: Sequence[Seen]) -> str:
    """Return the column whose name says that it weights the rows; "" without such a one."""
    found = [
        column.name
        for column in seen
        if WEIGHTS.fullmatch(column.name.strip()) or (WEIGHT.fullmatch(column.name.strip()) and _is_normalized(column))
        if not _no_weight(column)
    ]
    return found[0] if len(found) == 1 else ""


def _is_normalized(column: Seen) -> bool:
    return column.kind == "number" and abs(column.mean - 1) < 0.01


def _no_weight(column: Seen) -> str:
    """Return why a column can't weight the rows; "" if it can."""
    if column.problem or column.kind != "number":
        return column.problem or "it holds no numbers"
    if column.missing:
        return f"{column.missing:,} values are missing"
    return "" if column.low >= 0 and column.high > 0 else f"its values are {column.low:g} … {column.high:g}"


def weight_choice(column: Seen, where: str) -> Choice:
    """Return the choice of a column as the weight. Raises DataError if it can't be one."""
    if problem := _no_weight(column):
        raise DataError(f"{where}: column {column.name!r} can't be the weight: {problem}")
    return Choice(column.name, f"{column.low:g} … {column.high:g}: losses and scores are weighted means")


def is_named_label(column: Seen) -> bool:
    """Return True if the name of a column says that it is the class of a row, and it has few different values."""
    if not LABELS.fullmatch(column.name.strip()) or column.problem:  # a column with a problem may have no step
        return False
    whole = column.kind == "text" or (column.kind == "number" and column.step == 1)
    few = 2 <= len(column.texts) <= min(FEW, OWN * column.present)
    return whole and few and column.missing <= MOSTLY_MISSING * column.rows


def label_choice(column: Seen, where: str) -> Choice:
    """Return the choice of a column as the label. Raises DataError if it can't be one."""
    names = class_names(column.texts)
    count = f"it has {'more than ' * (len(names) > MAX_LISTED)}{min(len(names), MAX_LISTED)} different values"
    if column.unusable or not 2 <= len(names) <= MAX_LISTED:
        raise DataError(f"{where}: column {column.name!r} can't be the label: {column.unusable or count}")
    reason = f"{len(names)} classes: {shortened(', '.join(names))}"
    return Choice(column.name, reason, Column(column.name, "category", categories=names))


def period_of(column: Seen) -> float | None:
    """Return the length of the circle that a column of numbers lies on, by its name and its range, or None."""
    if column.kind != "number":
        return None
    words = set(re.split(r"[^a-z]+", column.name.lower()))
    for names, low, high, period in CIRCLES:
        if words & names and low <= column.low and column.high <= high and column.high - column.low > period / 2:
            return period
    return None
