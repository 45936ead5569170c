"""Checks the arguments of callers.

Each failure is an InputError that says what is wrong, where, and what to do instead.
"""

import math
import operator
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_runtime.bundle import Context
from flowkit_runtime.errors import InputError, RowError, quoted, shortened
from flowkit_runtime.files import Shape

Array = NDArray[Any]

MAX_SIZES = 16
"""The most sizes of a shape of samples. numpy's arrays have 32 dimensions at least, of which an event has some."""

_EXACT = 2**53  # float64 holds all whole numbers up to here


def checked_temperature(value: Any) -> float:
    """Return the temperature as a float. Raises InputError unless it is finite and at least 0."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except Exception:  # an integer too large for a float; the value's own code may raise anything
        number = math.nan
    if not 0 <= number < math.inf:
        raise InputError(f"temperature must be a finite number of at least 0, got {quoted(value)}")
    return number


def integer(name: str, value: SupportsIndex, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high), or in [low, inf) if `high` is None.

    A bool doesn't count as an integer.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # a TypeError, or anything from the value's own code
        number = None
    if number is None:
        raise InputError(f"{name} must be an integer, got {quoted(value)}")
    if number < low or (high is not None and number >= high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high - 1}"
        raise InputError(f"{name} must be {wanted}, got {shortened(number)}")
    return number


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn a failed allocation inside the block into an InputError, because the size follows from an argument."""
    try:
        yield
    except MemoryError as error:
        why = str(error) or "out of memory"
        raise InputError(f"there isn't enough memory: {why}; work on fewer events at a time") from error


def count(n: SupportsIndex, low: int, event_shape: Shape, context: Context | None) -> int:
    """Return `n` as a number of events.

    Raises InputError unless `n` is an integer of at least `low`, and numpy can represent the size of such arrays of
    events and contexts.
    """
    number = integer("n", n, low)
    largest = max(math.prod(event_shape), math.prod(context.shape) if context else 1)
    if number > sys.maxsize // (8 * largest):
        raise InputError(f"n is {shortened(number)}, more events than one array can hold")
    return number


def is_integral(array: Array) -> bool:
    """Return True if the dtype holds whole numbers only. bool counts as 0 and 1."""
    return array.dtype.kind in "biu"


def batch(name: str, value: ArrayLike, shape: Shape) -> Array:
    """Return `value` as an array [n, *shape] of real numbers. Its values are not checked."""
    array = real(name, value)
    if array.shape[1:] == shape and array.ndim == len(shape) + 1:
        return array
    hint = f"; one row has the shape {[1, *shape]}" if array.shape == shape else ""
    raise InputError(f"{name} must have shape {_batched(shape)}, got {list(array.shape)}{hint}")


def finite(name: str, rows: Array, start: int) -> NDArray[np.float32]:
    """Return `rows` as float32, which must be finite. `start` is the number of the first row, for the message."""
    with np.errstate(over="ignore"):  # overflow gives inf, which is rejected below
        result = np.asarray(rows, np.float32)
    bad = ~np.isfinite(result)
    if bad.any():
        raise RowError(f"{name} must be finite in float32; {_first(name, rows, bad, start)}")
    return result


def points(name: str, rows: Array, start: int, levels: int | None) -> NDArray[np.float32]:
    """Return `rows` as float32. With levels, an integer k (by dtype) becomes the middle of its cell, k + 1/2."""
    if levels is not None and is_integral(rows):
        return (grid(name, rows, start, levels) + 0.5).astype(np.float32)
    return finite(name, rows, start)


def inside(
    name: str,
    rows: NDArray[np.float32],
    start: int,
    domain: tuple[tuple[float, float], ...] | None,
    columns: Sequence[str] = (),
) -> NDArray[np.float32]:
    """Return `rows`, whose values must lie within the domain of the data. Its ends are rounded to float32, and allowed.

    ``columns`` are the names of the values, if they have any.

    Raises RowError, which names the row and the column.
    """
    if domain is None:
        return rows
    with np.errstate(over="ignore"):
        low, high = np.asarray(domain, np.float32).T
    bad = (rows < low) | (rows > high)
    if bad.any():
        column = int(np.unravel_index(int(bad.argmax()), bad.shape)[-1])
        low_end, high_end = domain[column if len(domain) > 1 else 0]
        ends = f"from {low_end:g} to {high_end:g}"
        shown = shortened(repr(columns[column])) if columns else column
        where = f" in column {shown}" if columns or len(domain) > 1 else ""
        raise RowError(f"{name} must lie in the domain of the data, {ends}{where}; {_first(name, rows, bad, start)}")
    return rows


def grid(name: str, rows: Array, start: int, levels: int) -> NDArray[np.float64]:
    """Return `rows` as float64. Each value must be a whole number in [0, levels - 1]."""
    values = rows.astype(np.float64)
    good = (values >= 0) & (values <= levels - 1)
    if not is_integral(rows):
        good &= values == np.floor(values)
    if not good.all():
        wanted = f"whole numbers from 0 to {levels - 1}"
        raise RowError(f"{name} must hold {wanted}; {_first(name, rows, ~good, start)}")
    return values


def whole_as_integers(rows: Array, levels: int | None) -> Array:
    """Return numbers that were read from text, where 3 and 3.0 are the same. With levels, whole ones are integers.

    They stay floats if one isn't whole: then they are points.
    """
    if levels is None or rows.dtype.kind != "f":
        return rows
    is_whole = (rows == np.floor(rows)) & (np.abs(rows) < _EXACT)
    return rows.astype(np.int64) if is_whole.all() else rows


def context_rows(value: ArrayLike | None, kind: Context | None, n: int, start: int) -> Array | None:
    """Return `value` (n rows, or one for all) as int64 [n] for classes, otherwise float32 [n, *shape].

    Classes are given by their indices or their names. If `kind` is None, `value` must be None, and so is the result.
    `start` is the number of the first row, for the message.
    """
    if kind is None:
        if value is not None:
            raise InputError("this model takes no context; leave it out")
        return None
    if value is None:
        raise InputError(f"this model needs a context: {kind} for each row, or one for all rows")
    array = _real_context(value, kind)
    if array.shape == kind.shape:
        array = array[None]
    if array.shape != (1, *kind.shape):
        check_context_shape(array.shape, kind, n)
    start = start if len(array) == n else 0
    rows = finite("context", array, start) if kind.classes is None else _classes(array, kind.classes, start)
    return np.broadcast_to(rows, (n, *kind.shape))


def sample_shape(n: SupportsIndex | tuple[SupportsIndex, ...], event_shape: Shape, context: Context | None) -> Shape:
    """Return the shape of n samples, without that of an event. `n` is a number or a shape. Raises InputError."""
    sizes = n if isinstance(n, tuple) else (n,)
    if len(sizes) > MAX_SIZES:
        raise InputError(f"n has {len(sizes)} sizes; the most is {MAX_SIZES}")
    shape = tuple(count(size, 0, event_shape, context) for size in sizes)
    count(math.prod(shape), 0, event_shape, context)
    return shape


def sample_context(value: ArrayLike | None, kind: Context | None, shape: Shape) -> Array | None:
    """Return the contexts of samples of a shape, [prod(shape), *context_shape], as `context_rows` does.

    `value` is broadcast to the shape. Raises InputError if it can't be.
    """
    n = math.prod(shape)
    if value is None or kind is None:
        return context_rows(value, kind, n, 0)
    array = _real_context(value, kind)
    batch = array.shape[: array.ndim - len(kind.shape)]
    if array.shape[len(batch) :] != kind.shape or not broadcasts(batch, shape):
        each = f"; n = ({n}, {len(array)}) draws {n} for each" if len(shape) == len(batch) == 1 else ""
        shapes = f"{[*shape, *kind.shape]} (one per row) or {[*kind.shape]} (one for all)"
        raise InputError(f"context must have shape {shapes}, got {list(array.shape)}{each}")
    if math.prod(batch) == 1:
        return context_rows(array.reshape(kind.shape), kind, n, 0)
    return context_rows(np.broadcast_to(array, (*shape, *kind.shape)).reshape(n, *kind.shape), kind, n, 0)


def _real_context(value: ArrayLike, kind: Context) -> Array:
    return real("context", value if kind.classes is None else class_indices(value, kind.names))


def class_indices(value: Any, names: Sequence[str]) -> Any:
    """Return names of classes as their indices, in the same shape. Anything else is returned as it is.

    Raises InputError for a name that no class has, if the classes have no names, or if only some values are names.
    """
    # Objects, because in an array of texts each takes as much memory as the longest.
    given = as_array("context", value, object if isinstance(value, list | tuple) else None)
    if given.dtype.kind not in "UO" or not any(are_texts := [isinstance(each, str) for each in given.ravel()]):
        return value
    if not all(are_texts):
        raise InputError("context holds texts and other values: give the names of all classes, or all indices")
    indices = {name: index for index, name in enumerate(names)}
    if (unknown := next((each for each in given.flat if each not in indices), None)) is not None:
        raise InputError(no_class(str(unknown), names))
    return np.array([indices[each] for each in given.flat], np.int64).reshape(given.shape)


def class_index(text: str, kind: Context) -> int:
    """Return the index of a class for its name, or for the text of the index unless names are numbers."""
    if kind.classes is None:
        floats = f"{kind}, one for all rows or one for each"
        raise InputError(f"the context {shortened(repr(text))} is no .npy file; this flow's is {floats}")
    names = kind.class_names
    if text in names:
        return names.index(text)
    is_index = text.isdecimal() and len(text) < 9 and int(text) < kind.classes
    if is_index and not any(name.isdecimal() for name in names):
        return int(text)
    raise InputError(no_class(text, names))


def no_class(name: str, names: Sequence[str]) -> str:
    """Return what to say of a name that no class has."""
    known = f"its classes are {shortened(', '.join(names))}" if names else "its classes have no names, only numbers"
    return f"the context {shortened(repr(name))} is no class of this flow: {known}"


def broadcasts(shape: Shape, to: Shape) -> bool:
    """Return True if numpy would broadcast arrays of a shape to another."""
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape[::-1], to[::-1], strict=False))


def check_context_shape(shape: Shape, kind: Context, n: int) -> None:
    """Raise InputError unless the shape is that of n rows of context."""
    if shape != (n, *kind.shape):
        shapes = f"{[n, *kind.shape]} (one per row) or {[*kind.shape]} (one for all)"
        raise InputError(f"context must have shape {shapes}, got {list(shape)}")


def row_slices(n: int, batch_size: int, first: int = 0) -> Iterator[slice]:
    """Yield consecutive slices of at most `batch_size` rows that cover range(first, n)."""
    for start in range(first, n, batch_size):
        yield slice(start, min(start + batch_size, n))


def listed(name: str, given: Any) -> tuple[Any, ...]:
    """Return different names as a tuple. Raises InputError for anything else, such as a string, which has letters."""
    try:
        names = tuple(given)
        are_names = not isinstance(given, str) and len(set(names)) == len(names)
    except Exception:  # it can't be iterated over, or an element isn't hashable
        are_names = False
    if not are_names:
        raise InputError(f"{name} must be a list of different names, got {quoted(given)}")
    return names


def as_array(name: str, value: ArrayLike, dtype: Any = None) -> Array:
    """Return `value` as an array, with its mask if it has one. Raises InputError if the conversion raises anything."""
    try:
        return np.asanyarray(value, dtype)
    except MemoryError:
        raise
    except Exception as error:  # from numpy, or from the value's own code
        reason = shortened(f"{type(error).__name__}: {error}")
        raise InputError(f"{name} is not an array, nor can it be made one: {reason}") from error


def real(name: str, value: ArrayLike) -> Array:
    """Return `value` as an array of real numbers, of any shape. Raises InputError for missing (masked) values."""
    array = as_array(name, value)
    if np.ma.is_masked(array) or _holds_masked(value):
        raise InputError(f"{name} is masked in places: missing values are errors; fill them, or leave those rows out")
    if array.dtype.kind not in "biuf":
        convert = ": convert it, with x.astype(float), or x.toarray() if it is sparse" * (array.dtype.kind == "O")
        raise InputError(f"{name} must hold real numbers, got dtype {shortened(array.dtype)}{convert}")
    return np.asarray(array)


def _holds_masked(value: object) -> bool:
    """Return True if lists contain a masked array with missing values. numpy would drop its mask."""
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
