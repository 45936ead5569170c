"""Reads Arrow arrays as numbers, times and texts."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.errors import InputError, RowError, shortened

Floats = NDArray[np.float64]

EXACT = 2**53
"""float64 holds all whole numbers up to here."""
DAY = 86_400_000_000
"""The microseconds of a day."""
_ZONE = re.compile(r":\d\d.*(Z|[+-]\d\d(:?\d\d)?)\s*$")


def place_of(name: str, value: Any, row: int) -> str:
    """Return what a message says of a value in a column."""
    shown = repr(float(value)) if isinstance(value, float) else shortened(repr(value))
    return f"column {shortened(repr(name))} has {shown} in row {row}"


def as_numbers(values: Any, name: str) -> Floats:
    """Return an Arrow array as float64, NaN for missing values. Raises InputError if it holds no numbers."""
    import pyarrow as arrow

    values = plain_array(values)
    kind, kinds = values.type, arrow.types
    of_numbers = kinds.is_null, kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal
    if not any(is_one(kind) for is_one in of_numbers):
        raise InputError(f"column {shortened(repr(name))} holds {shortened(kind)}, not numbers")
    numbers: Floats = values.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def off_grid(steps: Floats, size: Floats) -> NDArray[np.bool_]:
    """Return True for numbers that aren't whole, not even but for rounding.

    ``size`` is how large the numbers were before an offset was subtracted, since rounding errors grow with it.
    """
    distance: Floats = np.abs(steps - np.rint(steps))
    return distance > np.minimum(1e-6 + 1e-15 * np.abs(size), 0.25)


def as_days(values: Any, name: str, start: int = 0) -> Floats:
    """Return an Arrow array of times as days since 1970, NaN for missing values. Times with a zone are those of UTC.

    Raises RowError for text that is no time, and InputError for a column of another kind.
    """
    import pyarrow as arrow

    values = plain_array(values)
    if arrow.types.is_string(values.type):
        values = _parsed_times(values, name, start)
    kind = values.type
    if not (arrow.types.is_timestamp(kind) or arrow.types.is_date(kind) or arrow.types.is_null(kind)):
        raise InputError(f"column {shortened(repr(name))} holds {shortened(kind)}, not times")
    zone, unit = (kind.tz, kind.unit) if arrow.types.is_timestamp(kind) else (None, None)
    try:  # nanoseconds are rounded down
        in_microseconds = values.cast(arrow.timestamp("us", zone), safe=unit != "ns")
    except ValueError as error:  # from pyarrow
        raise InputError(f"column {shortened(repr(name))} has a time out of range: {shortened(error)}") from error
    return as_numbers(in_microseconds.cast(arrow.int64()), name) / DAY


def _parsed_times(texts: Any, name: str, start: int) -> Any:
    """Return texts in the format of ISO 8601 as times. Either all have a zone, such as Z, or none has."""
    if (times := _as_times(texts)) is not None:
        return times
    if (row := next((row for row in range(len(texts)) if _as_times(texts.slice(row, 1)) is None), None)) is not None:
        why = "which is no time like 2013-01-31 or 2013-01-31T05:00:00"
    else:
        zones = [text and bool(_ZONE.search(text)) for text in texts.to_pylist()]
        first = next(zone for zone in zones if zone is not None)
        row = zones.index(not first)
        why = f"with{'out' * first} a zone, and times before it are with{'out' * (not first)} one"
    raise RowError(f"{place_of(name, texts[row].as_py(), start + row)}, {why}")


def _as_times(texts: Any) -> Any:
    """Return texts as times, or None if they aren't."""
    import pyarrow as arrow

    trimmed = import_module("pyarrow.compute").utf8_trim_whitespace(texts)
    for unit, zone in (("us", None), ("us", "UTC"), ("ns", None), ("ns", "UTC")):
        try:
            return trimmed.cast(arrow.timestamp(unit, zone))
        except ValueError:  # from pyarrow
            continue
    return None


def as_text(values: Any, name: str) -> list[str | None]:
    """Return an Arrow array as texts, None for missing values. Whole numbers are written without a decimal point."""
    import pyarrow as arrow

    values = plain_array(values)
    kind = values.type
    try:
        if arrow.types.is_nested(kind) or arrow.types.is_duration(kind):
            raise ValueError("pyarrow writes them as numbers, or can't")
        texts = values.cast(arrow.string()).to_pylist()
    except (ValueError, NotImplementedError) as error:  # from pyarrow
        raise InputError(f"column {shortened(repr(name))} holds {shortened(kind)}, which isn't text") from error
    if arrow.types.is_floating(kind):
        texts = [_without_point(*each) for each in zip(as_numbers(values, name).tolist(), texts, strict=True)]
    return [text or None for text in texts]


def _without_point(number: float, text: str | None) -> str | None:
    """Return the text of a number, None for NaN. Whole numbers have neither a point nor an exponent."""
    if number != number:
        return None
    return str(int(number)) if number.is_integer() and abs(number) < EXACT else text


def without_views(values: Any) -> Any:
    """Return an Arrow array without the views of texts that polars writes: Arrow can't take rows of views."""
    import pyarrow as arrow

    kind, text = values.type, arrow.large_string()
    if arrow.types.is_dictionary(kind) and str(kind.value_type) == "string_view":
        return values.cast(arrow.dictionary(kind.index_type, text))
    return values.cast(text) if str(kind) == "string_view" else values


def plain_array(values: Any) -> Any:
    """Return an Arrow array without a dictionary, and with one type of text. Empty texts are null, as in CSV."""
    import pyarrow as arrow

    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if str(values.type) not in ("string", "large_string"):
        return values
    texts, compute = values.cast(arrow.string()), import_module("pyarrow.compute")
    return compute.if_else(compute.equal(texts, ""), arrow.scalar(None, arrow.string()), texts)
