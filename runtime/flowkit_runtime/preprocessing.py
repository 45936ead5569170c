"""Turns the columns of a table into the events and contexts that a flow takes, and events back into columns.

Training and serving share this code. A bundle carries its preprocessing in the manifest. Columns are Arrow arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.columns import Column, Preprocessing
from flowkit_runtime.errors import InputError, RowError, shortened
from flowkit_runtime.inputs import Array
from flowkit_runtime.noise import DEQUANTIZATION_STREAM, uniform

Floats = NDArray[np.float64]

_DAY = 86_400_000_000  # microseconds
_DECIMALS = 10  # of multiples of a step, so that 669 steps of 0.1 are 66.9
_ROUNDING = 1e-6, 1e-15  # the absolute and the relative error of a number that is whole but for rounding


def encode(
    preprocessing: Preprocessing, columns: Mapping[str, Any], start: int = 0, seed: int = 0
) -> tuple[Floats, Floats | None]:
    """Return events [n, d] and their contexts. Where a value is lacking, ``missing: drop`` gives an event of NaN.

    The noise of integers and categories is a function of ``seed`` and the row. ``start`` is the number of the first
    row. Raises InputError if a column is missing, and RowError if a value can't be used.
    """
    events = np.stack([_values(column, preprocessing, columns, start) for column in preprocessing.event], 1)
    dequantized = np.array([column.is_dequantized for column in preprocessing.event])
    if dequantized.any():
        events += dequantized * uniform(seed, DEQUANTIZATION_STREAM, events.shape, start)
    lacking = np.isnan(events).any(axis=1)
    context = None
    if preprocessing.context:
        context = encode_context(preprocessing, columns, start)
        lacking |= np.isnan(context).any(axis=1)
        context[lacking] = 0.0
    events[lacking] = np.nan
    return events, context


def encode_context(preprocessing: Preprocessing, columns: Mapping[str, Any], start: int = 0) -> Floats:
    """Return the contexts of columns. Where a value is lacking, ``missing: drop`` gives NaN. Errors as for `encode`."""
    parts = [_in_context(column, _values(column, preprocessing, columns, start)) for column in preprocessing.context]
    return np.concatenate(parts, axis=1)


def decode(preprocessing: Preprocessing, events: Array) -> dict[str, Any]:
    """Return the columns of events [n, d], as numpy arrays by name. Integers and categories lose their noise."""
    values = events.astype(np.float64)
    return {column.column: _restored(column, values[:, i]) for i, column in enumerate(preprocessing.event)}


def _values(column: Column, preprocessing: Preprocessing, columns: Mapping[str, Any], start: int) -> Floats:
    """Return the values of a column as numbers, [n]. NaN stands for a missing value."""
    if column.column not in columns:
        known = shortened(", ".join(map(str, columns)))
        raise InputError(f"there is no column {shortened(repr(column.column))}; the columns are {known}")
    values = (read_column(columns[column.column], column, start) - column.offset) / column.scale
    if column.kind == "integer":
        values = _whole(values, column, start)
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
    if column.fill is None:
        return values[:, None]
    filled = np.where(lacking, (column.fill - column.offset) / column.scale, values)
    return np.stack([filled, lacking], 1)


def read_column(values: Any, column: Column, start: int = 0) -> Floats:
    """Return the values of an Arrow array as numbers, before offset and scale. NaN stands for a missing value.

    Raises RowError for a value that can't be used, and InputError for a column of another kind.
    """
    if column.kind == "category":
        return _codes(as_text(values, column.column), column, start)
    numbers = as_days(values, column.column, start) if column.kind == "time" else as_numbers(values, column.column)
    if (infinite := np.isinf(numbers)).any():
        row = int(infinite.argmax())
        raise RowError(f"column {shortened(repr(column.column))} has {numbers[row]} in row {start + row}")
    return numbers


def _whole(values: Floats, column: Column, start: int) -> Floats:
    """Return values that are whole but for rounding, rounded. Raises RowError for others."""
    whole = np.rint(values)
    if (bad := np.abs(values - whole) > _ROUNDING[0] + _ROUNDING[1] * np.abs(whole)).any():
        row = int(bad.argmax())
        value, steps = values[row] * column.scale + column.offset, f"{column.offset:g} + k · {column.scale:g}"
        wanted = "a whole number" if (column.offset, column.scale) == (0, 1) else f"one of {steps}"
        raise RowError(
            f"column {shortened(repr(column.column))} has {value:g} in row {start + row}, which isn't {wanted}"
        )
    return whole


def as_numbers(values: Any, name: str) -> Floats:
    """Return an Arrow array as float64, NaN for missing values. Raises InputError if it holds no numbers."""
    import pyarrow as arrow

    kind = values.type
    if arrow.types.is_dictionary(kind):
        return as_numbers(values.dictionary_decode(), name)
    if not (arrow.types.is_null(kind) or arrow.types.is_boolean(kind) or _is_number(kind)):
        raise InputError(f"column {shortened(repr(name))} holds {shortened(kind)}, not numbers")
    numbers: Floats = values.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def as_days(values: Any, name: str, start: int = 0) -> Floats:
    """Return an Arrow array of times as days since 1970, NaN for missing values. Times with a zone are those of UTC.

    Raises RowError for text that is no time, and InputError for a column of another kind.
    """
    import pyarrow as arrow

    if arrow.types.is_string(values.type) or arrow.types.is_large_string(values.type):
        values = _parsed_times(values, name, start)
    if arrow.types.is_date(values.type) or arrow.types.is_null(values.type):
        values = values.cast(arrow.timestamp("us"))
    if not arrow.types.is_timestamp(values.type):
        raise InputError(f"column {shortened(repr(name))} holds {shortened(values.type)}, not times")
    in_microseconds = values.cast(arrow.timestamp("us", values.type.tz), safe=False)
    return as_numbers(in_microseconds.cast(arrow.int64()), name) / _DAY


def _parsed_times(texts: Any, name: str, start: int) -> Any:
    """Return texts in the format of ISO 8601 as times. Either all have a zone, such as Z, or none has."""
    if (times := _as_times(texts)) is not None:
        return times
    row = next((row for row in range(len(texts)) if _as_times(texts.slice(row, 1)) is None), 0)
    raise RowError(
        f"column {shortened(repr(name))} has {shortened(repr(texts[row].as_py()))} in row {start + row}, which is no "
        "time like 2013-01-31 or 2013-01-31T05:00:00, or other rows have a zone and this one doesn't"
    )


def _as_times(texts: Any) -> Any:
    """Return texts as times, or None if they aren't."""
    import pyarrow as arrow

    for zone in (None, "UTC"):
        try:
            return texts.cast(arrow.timestamp("us", zone))
        except ValueError:  # from pyarrow
            continue
    return None


def as_text(values: Any, name: str) -> list[str | None]:
    """Return an Arrow array as texts, None for missing values. Whole numbers are written without a decimal point.

    Empty text counts as missing, as it does in CSV.
    """
    import pyarrow as arrow

    kind = values.type
    if arrow.types.is_dictionary(kind):
        return as_text(values.dictionary_decode(), name)
    if arrow.types.is_floating(kind):
        numbers = as_numbers(values, name)
        if np.all(np.isnan(numbers) | (numbers == np.floor(numbers))):
            values = arrow.array(numbers, from_pandas=True).cast(arrow.int64(), safe=False)
    try:
        texts = values.cast(arrow.string()).to_pylist()
    except (ValueError, NotImplementedError) as error:  # from pyarrow
        raise InputError(f"column {shortened(repr(name))} holds {shortened(kind)}, which isn't text") from error
    return [text or None for text in texts]


def as_columns(table: Any) -> dict[str, Any]:
    """Return the columns of a table as Arrow arrays by name.

    ``table`` is a DataFrame of pandas or polars, an Arrow table, or a mapping from names to arrays or lists.
    """
    import pyarrow as arrow

    try:
        if not isinstance(table, Mapping):
            is_pandas = type(table).__module__.startswith("pandas")
            whole = arrow.Table.from_pandas(table, preserve_index=False) if is_pandas else arrow.table(table)
            _check_names(whole.column_names)
            chunks = (column.combine_chunks() for column in whole.columns)
            return dict(zip(whole.column_names, chunks, strict=True))
        return {str(name): arrow.array(values, from_pandas=True) for name, values in table.items()}
    except (ValueError, TypeError, NotImplementedError) as error:  # from pyarrow
        raise InputError(f"this is no table, or one of mixed types: {shortened(error)}") from error


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"there is more than one column {shortened(repr(twice))}")


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _codes(texts: list[str | None], column: Column, start: int) -> Floats:
    """Return the index of each text in the categories, NaN for a missing value without a category."""
    codes: dict[str | None, float] = {None: math.nan}
    codes |= {category: index for index, category in enumerate(column.categories)}
    try:
        return np.array([codes[text] for text in texts], np.float64)
    except KeyError:
        row = next(row for row, text in enumerate(texts) if text not in codes)
    known = shortened(", ".join("a missing value" if each is None else each for each in column.categories))
    raise RowError(
        f"column {shortened(repr(column.column))} has {shortened(repr(texts[row]))} in row {start + row}; its "
        f"categories are {known}"
    )


def _restored(column: Column, values: Floats) -> Array:
    """Return values of an event as the column had them. Integers and categories lose their noise."""
    if column.kind == "category":
        categories = np.array(["" if each is None else each for each in column.categories], object)
        return categories[np.clip(np.floor(values), 0, len(categories) - 1).astype(int)]
    restored = (np.floor(values) if column.kind == "integer" else values) * column.scale + column.offset
    if column.kind == "integer":
        return restored.astype(np.int64) if column.scale == 1 else np.round(restored, _DECIMALS)
    if column.kind == "time":
        return np.rint(restored * (_DAY / 1e6)).astype("datetime64[s]")  # the nearest, as float32 may be a little less
    return restored if column.offset else restored.astype(np.float32)
