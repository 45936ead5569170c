"""Takes tables as Python has them: DataFrames, Arrow tables, and mappings of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from numbers import Number
from typing import Any

import numpy as np

from flowkit_runtime.errors import InputError, quoted, shortened
from flowkit_runtime.values import without_views


class TableColumns(Mapping[str, Any]):
    """The columns of a table by name. Each is converted to an Arrow array when it is read, so others may hold anything.

    Raises InputError for a column that can't be converted, and for a name that two columns have.

    Args:
        table: a DataFrame of pandas or polars, an Arrow table, or a mapping from names to arrays or lists. If all
            values of a mapping are single ones, it is one row.
    """

    def __init__(self, table: Any) -> None:
        self._found: dict[str, list[Callable[[], Any]]] = {}
        for name, column in _columns(table):
            self._found.setdefault(str(name), []).append(column)

    def __getitem__(self, name: str) -> Any:
        column, *others = self._found[name]
        if others:
            raise InputError(f"there is more than one column {shortened(repr(name))}")
        return _as_arrow(name, column())

    def __or__(self, other: TableColumns) -> TableColumns:
        both = TableColumns({})
        both._found = self._found | other._found
        return both

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found


def is_table(value: Any) -> bool:
    """Return True for a DataFrame of pandas or polars, an Arrow table, and a mapping of columns."""
    has_columns = hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns")
    return isinstance(value, Mapping) or is_pandas(value) or has_columns


def is_pandas(value: Any) -> bool:
    """Return True for a DataFrame of pandas, whose versions below 2.2 have no interface of Arrow."""
    return type(value).__module__.startswith("pandas") and hasattr(value, "columns")


def _columns(table: Any) -> Iterator[tuple[Any, Callable[[], Any]]]:
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise InputError("a table needs pyarrow: pip install pyarrow") from error
    if isinstance(table, Mapping):
        is_row = all(map(_is_single, table.values()))
        yield from ((name, partial(lambda name: [table[name]] if is_row else table[name], name)) for name in table)
    elif is_pandas(table):
        for i, name in enumerate(table.columns):
            yield name, partial(lambda i: table.iloc[:, i], i)
    else:
        try:
            whole = arrow.table(table)
        except Exception as error:  # from pyarrow, or from the table's own code
            wanted = "a DataFrame, an Arrow table, or a mapping from names to columns"
            why = f"Arrow can't read this {type(table).__name__}: {shortened(error)}"
            raise InputError(f"{wanted} is wanted; {why}") from error
        for i, name in enumerate(whole.column_names):
            yield name, partial(whole.column, i)


def _is_single(value: Any) -> bool:
    return isinstance(value, str | bytes) or not hasattr(value, "__len__")


def _as_arrow(name: str, values: Any) -> Any:
    import pyarrow as arrow

    if isinstance(values, arrow.ChunkedArray):
        return without_views(values).combine_chunks()
    if hasattr(values, "numpy"):  # a tensor
        values = np.asarray(values)
    if hasattr(values, "sparse"):  # a sparse series of pandas
        values = values.sparse.to_dense()
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    if isinstance(values, np.ndarray) and not isinstance(values, np.ma.MaskedArray):
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    column = f"column {shortened(repr(name))}"
    if _is_single(values):
        raise InputError(f"{column} is {quoted(values)}, not a list or an array of values")
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise InputError(f"{column} has the shape {list(values.shape)}; a column has one value for each row")
    try:
        return arrow.array(values, from_pandas=True)
    except Exception as error:  # pyarrow raises many types of errors
        if not (why := _mixed(values)) and (numbers := _as_floats(values)) is not None:
            return arrow.array(numbers, from_pandas=True)
        why = why or f"can't be read: {shortened(error)}"
        raise InputError(f"{column} {why}") from error


def _as_floats(values: Any) -> Any:
    """Return numbers of different types, such as float and Decimal, as floats; None if they aren't real numbers."""
    try:
        return [None if value is None else float(value) for value in values]
    except Exception:  # the value's own code may raise anything
        return None


def _mixed(values: Any) -> str | None:
    """Return which value is of another type than those before it; None if they are of one type."""
    try:
        given = [(row, value) for row, value in enumerate(values) if value is not None and value == value]
    except Exception:  # they can't be iterated over, or the value's own code may raise anything
        return None
    kinds = [Number if isinstance(value, Number) else type(value) for _, value in given]
    other = next((i for i, kind in enumerate(kinds) if kind is not kinds[0]), None)
    if other is None:
        return None
    row, value = given[other]
    return f"is of mixed types: it has {quoted(value)} in row {row}, and {quoted(given[0][1])} in row {given[0][0]}"
