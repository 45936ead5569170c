"""Turns the columns of a table into the events and contexts that a flow takes, and events back into columns.

Training and serving share this code. A bundle carries its preprocessing in the manifest. Columns are Arrow arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.columns import Column, Preprocessing, no_columns
from flowkit_runtime.errors import InputError, RowError, shortened
from flowkit_runtime.inputs import Array
from flowkit_runtime.noise import DEQUANTIZATION_STREAM, uniform
from flowkit_runtime.values import DAY, EXACT, Floats, as_days, as_numbers, as_text, off_grid, place_of

WITH_NOISE = 2**23
"""Beyond it float32 holds whole numbers only, and noise between 0 and 1 is lost."""
_DECIMALS = 10  # the decimals of multiples of a step: 669 steps of 0.1 are 66.9
_LARGEST = float(np.finfo(np.float32).max)
_WHOLE = re.compile(r"-?\d{1,18}")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")


def encode(
    preprocessing: Preprocessing, columns: Mapping[str, Any], start: int = 0, seed: int = 0
) -> tuple[Floats, Array | None]:
    """Return events [n, d] and their contexts. Where a value is lacking, ``missing: drop`` gives an event of NaN.

    The contexts are labels int64 [n] if a column has these. Without that column there are none.

    The noise of integers and categories is a function of ``seed`` and the row. ``start`` is the number of the first
    row. Raises InputError if a column is missing, and RowError if a value can't be used.
    """
    preprocessing = for_columns(preprocessing, columns)
    columns = _chosen(preprocessing.kinds, columns)
    values = [_values(column, preprocessing, columns, start) for column in preprocessing.event]
    for column, each in zip(preprocessing.event, values, strict=True):
        _check_noise(column, each, start)
    events = np.stack(values, 1)
    dequantized = np.array([column.is_dequantized for column in preprocessing.event])
    if dequantized.any():
        events += dequantized * uniform(seed, DEQUANTIZATION_STREAM, events.shape, start)
    lacking = np.isnan(events).any(axis=1)
    context: Array | None = None
    if preprocessing.contexts:
        context = encode_context(preprocessing, columns, start)
        lacking |= np.isnan(context).any(axis=tuple(range(1, context.ndim)))
        context[lacking] = 0.0
        context = context if preprocessing.label is None else context.astype(np.int64)
    events[lacking] = np.nan
    return events, context


def encode_context(preprocessing: Preprocessing, columns: Mapping[str, Any], start: int = 0) -> Floats:
    """Return the contexts of columns, [n, c], or labels [n]. Where a value is lacking, ``missing: drop`` gives NaN.

    Raises errors as `encode` does.
    """
    columns = _chosen([column.column for column in preprocessing.contexts], columns)
    values = [_values(column, preprocessing, columns, start) for column in preprocessing.contexts]
    if preprocessing.label is not None:
        return values[0]
    return np.concatenate([_in_context(*each) for each in zip(preprocessing.context, values, strict=True)], axis=1)


def complete_context(preprocessing: Preprocessing, columns: Mapping[str, Any]) -> Array:
    """Return the contexts of columns, or labels int64 [n]. Raises RowError for a missing value, too."""
    found = encode_context(replace(preprocessing, missing="refuse"), columns)
    return found if preprocessing.label is None else found.astype(np.int64)


def for_columns(preprocessing: Preprocessing, names: Container[str]) -> Preprocessing:
    """Return the preprocessing of a table with columns of these names. Without the column of the labels, it has none.

    A flow whose context is a class can score such a table, too.
    """
    label = preprocessing.label
    return preprocessing if label is None or label.column in names else replace(preprocessing, label=None)


def class_names(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Return the classes that labels name, in order: numerical for whole numbers, else alphabetical.

    Labels that are written in several ways, such as 2.0 and 2, are one class.
    """
    names = {text for text in map(canonical_text, texts) if text is not None}
    if all(_WHOLE.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def decode(preprocessing: Preprocessing, events: Array) -> dict[str, Any]:
    """Return the columns of events [n, d], as numpy arrays by name. Integers and categories lose their noise."""
    values = events.astype(np.float64)
    return {column.column: _restored(column, values[:, i]) for i, column in enumerate(preprocessing.event)}


def _values(column: Column, preprocessing: Preprocessing, columns: Mapping[str, Any], start: int) -> Floats:
    """Return the values of a column as numbers, [n]. NaN stands for a missing value."""
    numbers = read_column(columns[column.column], column, start)
    with np.errstate(over="ignore"):
        values = (numbers - column.offset) / column.scale
    scaled = "" if column.scale == 1 else f", divided by {column.scale:g}"
    _refuse(np.abs(values) > _LARGEST, column, numbers, start, f"{scaled}: float32 ends at {_LARGEST:.4g}")
    if column.kind == "integer":
        steps = f"one of {column.offset:g} + k · {column.scale:g}"
        wanted = "a whole number" if (column.offset, column.scale) == (0, 1) else steps
        off = off_grid(values, values + column.offset / column.scale)
        _refuse(off, column, numbers, start, f", which isn't {wanted}")
        values = np.rint(values)
    if preprocessing.missing == "refuse" and column.fill is None and (lacking := np.isnan(values)).any():
        row = start + int(lacking.argmax())
        raise RowError(f"there is no value in column {shortened(repr(column.column))} of row {row}")
    return values


def _in_context(column: Column, values: Floats) -> Floats:
    """Return the values of a column as those of contexts, [n, width]."""
    lacking = np.isnan(values)
    if column.kind == "category":
        one_hot = np.zeros((len(values), column.width))
        one_hot[np.flatnonzero(~lacking), values[~lacking].astype(int)] = 1.0
        one_hot[lacking] = np.nan
        return one_hot
    indicator = [] if column.fill is None else [lacking]
    if column.fill is not None:
        values = np.where(lacking, (column.fill - column.offset) / column.scale, values)
    if column.period is None:
        return np.stack([values, *indicator], 1)
    angle = 2 * np.pi * values / column.period
    return np.stack([np.cos(angle), np.sin(angle), *indicator], 1)


def read_column(values: Any, column: Column, start: int = 0) -> Floats:
    """Return the values of an Arrow array as numbers, before offset and scale. NaN stands for a missing value.

    Raises RowError for a value that can't be used, and InputError for a column of another kind.
    """
    if column.kind == "category":
        return _codes(as_text(values, column.column), column, start)
    numbers = as_days(values, column.column, start) if column.kind == "time" else as_numbers(values, column.column)
    _refuse(np.isinf(numbers), column, numbers, start)
    if column.kind == "integer":
        advice = ": whole numbers from 2^53 on aren't exact; subtract some number from them beforehand"
        _refuse(np.abs(numbers) >= EXACT, column, numbers, start, advice)
    return numbers


def _refuse(bad: NDArray[np.bool_], column: Column, numbers: Floats, start: int, why: str = "") -> None:
    """Raise RowError for the first of the numbers that is bad, if there is one."""
    if bad.any():
        row = int(bad.argmax())
        raise RowError(place_of(column.column, numbers[row], start + row) + why)


def _chosen(names: Collection[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of these names. Raises InputError if one is missing, or if their lengths differ."""
    if missing := [name for name in names if name not in columns]:
        verb = "are" if len(missing) > 1 else "is"
        known = shortened(", ".join(columns))
        raise InputError(f"there {verb} {no_columns(missing, columns)}; the columns are {known}")
    chosen = {name: columns[name] for name in names}
    first, *others = chosen.items()
    for name, values in others:
        if len(values) != len(first[1]):
            given = f"column {shortened(repr(name))} has {len(values)} rows"
            raise InputError(f"{given}, and column {shortened(repr(first[0]))} has {len(first[1])}")
    return chosen


def _check_noise(column: Column, values: Floats, start: int) -> None:
    """Raise RowError for an integer of an event that is so large that float32 has no room for its noise."""
    if column.kind == "integer" and (large := np.abs(values) > WITH_NOISE).any():
        why = f": float32 can't hold it with noise, since (value - offset) / scale is beyond {WITH_NOISE:,}; "
        advice = "give the column another offset, or kind: number"
        _refuse(large, column, values * column.scale + column.offset, start, why + advice)


def _codes(texts: list[str | None], column: Column, start: int) -> Floats:
    """Return the index of each text in the categories, NaN for a missing value without a category."""
    codes: dict[str | None, float] = {None: math.nan}
    codes |= {category: index for index, category in enumerate(column.categories)}
    try:
        return np.array([codes[text] for text in texts], np.float64)
    except KeyError:  # the same value may be written in another way
        codes = {canonical_text(category): index for category, index in codes.items()} | codes
    try:
        return np.array([codes[text] if text in codes else codes[canonical_text(text)] for text in texts], np.float64)
    except KeyError:
        row = next(row for row, text in enumerate(texts) if text not in codes and canonical_text(text) not in codes)
    known = shortened(", ".join("a missing value" if each is None else each for each in column.categories))
    raise RowError(f"{place_of(column.column, texts[row], start + row)}; its categories are {known}")


def canonical_text(text: str | None) -> str | None:
    """Return a text in the way in which typed columns give it: True as true, 1.50 as 1.5, and 2.0 as 2."""
    if text is None:
        return None
    if text.lower() in ("true", "false"):
        return text.lower()
    return text.rstrip("0").rstrip(".") if _DECIMAL.fullmatch(text) else text


def _restored(column: Column, values: Floats) -> Array:
    """Return values of an event as the column had them. Integers and categories lose their noise."""
    if column.kind == "category":
        categories = np.array(["" if each is None else each for each in column.categories], object)
        return categories[np.clip(np.floor(values), 0, len(categories) - 1).astype(int)]
    restored = (np.floor(values) if column.kind == "integer" else values) * column.scale + column.offset
    if column.kind == "integer":
        is_exact = column.scale == 1 and np.all(np.abs(restored) < EXACT)
        return restored.astype(np.int64) if is_exact else np.round(restored, _DECIMALS)
    if column.kind == "time":
        ends = np.iinfo(np.int64).max // DAY - 1
        seconds = np.clip(restored, -ends, ends) * (DAY / 1e6)
        return np.rint(seconds).astype("datetime64[s]")  # the nearest, as float32 may be a little less
    return restored if column.offset else restored.astype(np.float32)
