"""Reads events and contexts from the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.errors import InputError, RowError, shortened
from flowkit_runtime.inputs import Array, grid
from flowkit_runtime.preprocessing import encode, for_columns
from flowkit_runtime.streaming.sources import (
    EventRows,
    Source,
    Wanted,
    context_identity,
    contexts,
    extra,
    file_identity,
    naming_file,
)
from flowkit_runtime.streaming.tables import TableFile, Type, open_table
from flowkit_runtime.values import Floats, as_numbers, without_views

VALUES = 2**21
"""The approximate number of values that are read together."""


class NumberTable(Source):
    """The chosen columns of a table, which hold the values of events and contexts as the flow takes them."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._table = open_table(path, math.prod(wanted.event_shape))
        self.path, self.rows, found = path, self._table.rows, self._table.columns
        self._wanted = wanted
        self._table.check_columns([*wanted.context_columns, *wanted.columns])
        self._context_columns = list(wanted.context_columns)
        rest = [name for name in found if name not in self._context_columns]
        self._columns = list(wanted.columns) or rest
        self._check_numbers()
        self._context = None if self._context_columns else contexts(wanted, self._table.count)
        self.lacks_class = wanted.lacks_class
        self.identity = [file_identity(path), self._columns, self._context_columns, *context_identity(wanted)]

    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        types: dict[str, Type] = dict.fromkeys([*self._columns, *self._context_columns], "number")
        for batch in in_batches(self._table.records(types, start), size):
            with naming_file(self.path):
                events, context = self._rows(columns_of(batch), start)
            yield events, context if self._context is None else self._context(slice(start, start + len(events)))
            start += batch.num_rows

    def _rows(self, columns: dict[str, Any], start: int) -> EventRows:
        """Return the events of some columns, and their contexts if columns make them."""
        arrays = {name: _complete(column, name, start) for name, column in columns.items()}
        events: Array = np.stack([arrays[name] for name in self._columns], 1).reshape(-1, *self._wanted.event_shape)
        if self._wanted.levels is not None:  # CSV doesn't tell integers from floats
            events = grid("x", events, start, self._wanted.levels).astype(np.int64)
        kind = self._wanted.context
        if kind is None or not self._context_columns:
            return events, None
        if kind.classes is not None:
            (name,) = self._context_columns
            return events, grid(name, arrays[name], start, kind.classes).astype(np.int64)
        context = np.stack([arrays[name] for name in self._context_columns], 1)
        return events, context.reshape(-1, *kind.shape)

    def _check_numbers(self) -> None:
        wanted, chosen = self._wanted, [*self._columns, *self._context_columns]
        if wanted.context is None and self._context_columns:
            raise InputError("this model takes no context; leave --context-columns out")
        if len(set(chosen)) < len(chosen):
            raise InputError(f"{self.path}: a column is chosen twice: {shortened(', '.join(chosen))}")
        self._check_number(self._columns, math.prod(wanted.event_shape), "an event", "--columns")
        if wanted.context is not None and self._context_columns:
            needed = math.prod(wanted.context.shape)
            self._check_number(self._context_columns, needed, "a context", "--context-columns")

    def _check_number(self, columns: list[str], needed: int, what: str, option: str) -> None:
        if len(columns) != needed:
            raise InputError(
                f"{self.path}: {what} of this flow has {needed} value{'s' * (needed != 1)}, and there are "
                f"{len(columns)} columns ({shortened(', '.join(columns))}); choose with {option} a,b,…"
            )


def _complete(column: Any, name: str, start: int) -> Floats:
    """Return an Arrow array as numbers. Raises RowError for a missing value, and InputError if it holds no numbers."""
    if column.null_count:
        row = start + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise RowError(f"there is no value in column {shortened(repr(name))} of row {row}")
    return as_numbers(column, name)


class PreprocessedTable(Source):
    """A table like the one that the flow was trained on. Its columns are in any order, and others are ignored.

    The column of the labels may be absent. `--context` takes its place.
    """

    def __init__(self, path: Path, preprocessing: Preprocessing, wanted: Wanted) -> None:
        self._table = open_table(path)
        self.path, self.rows, self._seed = path, self._table.rows, wanted.seed
        self.drops_rows = preprocessing.missing == "drop"
        self._preprocessing = for_columns(preprocessing, self._table.columns)
        if wanted.context_from is not None:
            self._preprocessing = replace(preprocessing, label=None)
        needs_class = preprocessing.label is not None and self._preprocessing.label is None
        self._context = contexts(wanted, self._table.count) if needs_class else None
        self.lacks_class = needs_class and wanted.lacks_class
        self._table.check_columns(self._preprocessing.kinds)
        self.identity = [file_identity(path), self._seed, *context_identity(wanted)]

    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        for batch in in_batches(self._table.records(column_types(self._preprocessing), start), size):
            with naming_file(self.path):
                events, context = encode(self._preprocessing, columns_of(batch), start, self._seed)
            if self._context is not None:
                context = self._context(slice(start, start + len(events)))
            yield events, context
            start += batch.num_rows


def column_types(preprocessing: Preprocessing) -> dict[str, Type]:
    """Return how the values of the columns are read from CSV."""
    types: dict[str, Type] = {"number": "number", "integer": "number", "time": "text", "category": "text"}
    return {name: types[kind] for name, kind in preprocessing.kinds.items()}


def in_parts(table: TableFile, types: Mapping[str, Type]) -> Iterator[Any]:
    """Yield columns of a table in parts of about VALUES values, as tables."""
    return in_batches(table.records(types), max(1, VALUES // max(1, len(types))))


def in_batches(records: Iterable[Any], size: int) -> Iterator[Any]:
    """Yield the rows of record batches as tables of ``size`` rows. The last table may be smaller."""
    arrow = extra("pyarrow", "pyarrow", "reading tables")
    held: list[Any] = []
    count = 0
    for batch in records:
        held.append(batch)
        count += batch.num_rows
        if count >= size:
            table = arrow.Table.from_batches(held)
            whole = count // size * size
            yield from (table.slice(first, size) for first in range(0, whole, size))
            held, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield arrow.Table.from_batches(held)


def columns_of(table: Any) -> dict[str, Any]:
    """Return the columns of an Arrow table as arrays, by name. A look-up by name in a table searches all columns."""
    columns = (without_views(column).combine_chunks() for column in table.columns)
    return dict(zip(table.schema.names, columns, strict=True))
