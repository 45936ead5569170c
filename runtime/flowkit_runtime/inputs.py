"""Checks on what callers pass in; each failure is an InputError that says what, where and what instead."""

import math
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_runtime.bundle import Context
from flowkit_runtime.errors import InputError, RowError, quoted, shortened
from flowkit_runtime.files import Shape

Array = NDArray[Any]


def checked_temperature(value: Any) -> float:
    """The temperature of noise as a float. Raises InputError."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except Exception:  # an integer beyond a float, or whatever the value's own code raises
        number = math.nan
    if not 0 <= number < math.inf:
        raise InputError(f"temperature must be a finite number of at least 0, got {quoted(value)}")
    return number


def integer(name: str, value: SupportsIndex, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high), or in [low, inf) without `high`. A bool is no integer here."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # a TypeError, or whatever the value's own code raises
        number = None
    if number is None:
        raise InputError(f"{name} must be an integer, got {quoted(value)}")
    if number < low or (high is not None and number >= high):
        wanted = f"at least {low}" if high is None else f"in [{low}, {high})"
        raise InputError(f"{name} must be {wanted}, got {shortened(number)}")
    return number


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turns an array that can't be allocated into an InputError: it was asked for by the size of an argument."""
    try:
        yield
    except MemoryError as error:
        why = str(error) or "out of memory"
        raise InputError(f"there isn't enough memory: {why}; work on fewer events at a time") from error


def count(n: SupportsIndex, low: int, event_shape: Shape, context: Context | None) -> int:
    """`n` as a number of events, whose bytes and their contexts' numpy can count, if there were memory for them."""
    number = integer("n", n, low)
    largest = max(math.prod(event_shape), math.prod(context.shape) if context else 1)
    if number > sys.maxsize // (8 * largest):
        raise InputError(f"n is {shortened(number)}, more events than one array can hold")
    return number


def is_integral(array: Array) -> bool:
    """Whether the dtype holds whole numbers only (bool counts as 0 and 1)."""
    return array.dtype.kind in "biu"


def batch(name: str, value: ArrayLike, shape: Shape) -> Array:
    """`value` as an array [n, *shape] of real numbers; its values are not looked at."""
    array = real(name, value)
    if array.shape[1:] == shape and array.ndim == len(shape) + 1:
        return array
    hint = f"; add the batch axis: {name}[None]" if array.shape == shape else ""
    raise InputError(f"{name} must have shape {_batched(shape)}, got {list(array.shape)}{hint}")


def finite(name: str, rows: Array, start: int) -> NDArray[np.float32]:
    """`rows` as float32; `start` is the number of the first row, for the message."""
    with np.errstate(over="ignore"):  # what overflows becomes inf, which is refused below
        result = np.asarray(rows, np.float32)
    bad = ~np.isfinite(result)
    if bad.any():
        raise RowError(f"{name} must be finite in float32; {_first(name, rows, bad, start)}")
    return result


def points(name: str, rows: Array, start: int, levels: int | None) -> NDArray[np.float32]:
    """`rows` as float32; with levels, an integer k (by dtype) is the middle of its cell, k + 1/2."""
    if levels is not None and is_integral(rows):
        return (grid(name, rows, start, levels) + 0.5).astype(np.float32)
    return finite(name, rows, start)


def grid(name: str, rows: Array, start: int, levels: int) -> NDArray[np.float64]:
    """`rows` as float64, each value a whole number in [0, levels - 1]."""
    values = rows.astype(np.float64)
    good = (values >= 0) & (values <= levels - 1) & (values == np.floor(values))
    if not good.all():
        wanted = f"whole numbers from 0 to {levels - 1}"
        raise RowError(f"{name} must hold {wanted}; {_first(name, rows, ~good, start)}")
    return values


def context_rows(value: ArrayLike | None, spec: Context | None, n: int, start: int) -> Array | None:
    """`value`, n rows or one for all, as int64 [n] (classes) or float32 [n, *shape]; None without a spec.

    `start` is the number of the first row, for the message.
    """
    if spec is None:
        if value is not None:
            raise InputError("this model takes no context; leave it out")
        return None
    if value is None:
        kind = f"floats {[*spec.shape]}" if spec.classes is None else f"a class from 0 to {spec.classes - 1}"
        raise InputError(f"this model needs a context: {kind} per row, or one for all rows")
    array = real("context", value)
    if array.shape == spec.shape:
        array = array[None]
    if array.shape != (1, *spec.shape):
        check_context_shape(array.shape, spec, n)
    start = start if len(array) == n else 0
    rows = finite("context", array, start) if spec.classes is None else _classes(array, spec.classes, start)
    return np.broadcast_to(rows, (n, *spec.shape))


def check_context_shape(shape: Shape, spec: Context, n: int) -> None:
    """Raises InputError unless there is a row for each of n."""
    if shape != (n, *spec.shape):
        shapes = f"{[n, *spec.shape]} (one per row) or {[*spec.shape]} (one for all)"
        raise InputError(f"context must have shape {shapes}, got {list(shape)}")


def row_slices(n: int, batch_size: int, first: int = 0) -> Iterator[slice]:
    """Consecutive slices of at most `batch_size` rows that cover range(first, n)."""
    for start in range(first, n, batch_size):
        yield slice(start, min(start + batch_size, n))


def listed(name: str, given: Any) -> tuple[Any, ...]:
    """Names as a tuple, each of them once.

    Raises:
        InputError: `given` is no list of names, or a string, which would be a sequence of its letters.
    """
    if isinstance(given, str):
        raise InputError(f"{name} must be a list of names, got the string {quoted(given)}: use [{quoted(given)}]")
    try:
        names = tuple(given)
        once = len(set(names)) == len(names)
    except Exception:  # it can't be iterated over, or holds what can't be a name
        raise InputError(f"{name} must be a list of names, got {quoted(given)}") from None
    if not once:
        raise InputError(f"{name} has one twice: {shortened(', '.join(map(str, names)))}")
    return names


def as_array(name: str, value: ArrayLike) -> Array:
    """`value` as an array, with its mask if it has one. Raises InputError, whatever its conversion raises."""
    try:
        return np.asanyarray(value)
    except MemoryError:
        raise
    except Exception as error:  # numpy's, or of the value's own code
        reason = shortened(f"{type(error).__name__}: {error}")
        raise InputError(f"{name} is not an array, nor can it be made one: {reason}") from error


def real(name: str, value: ArrayLike) -> Array:
    """`value` as an array of real numbers, of any shape."""
    array = as_array(name, value)
    if np.ma.is_masked(array) or _holds_masked(value):
        raise InputError(f"{name} is masked in places: missing values are errors; fill them, or leave those rows out")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, got dtype {shortened(array.dtype)}")
    return np.asarray(array)


def _holds_masked(value: object) -> bool:
    """Return True if a masked array with missing values is inside of lists, where numpy drops its mask."""
    if isinstance(value, list | tuple):
        return any(map(_holds_masked, value))
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))


def _classes(array: Array, classes: int, start: int) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise InputError(f"context must hold integer class indices, got dtype {array.dtype}")
    bad = (array < 0) | (array >= classes)
    if bad.any():
        wanted = f"classes from 0 to {classes - 1}"
        raise RowError(f"context must hold {wanted}; {_first('context', array, bad, start)}")
    return array.astype(np.int64)


def _batched(shape: Shape) -> str:
    return f"[{', '.join(['n', *map(str, shape)])}]"


def _first(name: str, rows: Array, bad: NDArray[np.bool_], start: int) -> str:
    row, *rest = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
    index = ", ".join(map(str, [start + row, *rest]))
    return f"in row {start + row}, {name}[{index}] is {rows[(row, *rest)]}"
