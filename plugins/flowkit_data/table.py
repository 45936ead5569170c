"""Defines the dataset ``data/table``, which reads CSV, Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows
from flowkit_data.mapped import mapped
from flowkit_data.parts import Division, Shares
from flowkit_runtime.columns import Missing, Preprocessing
from flowkit_runtime.errors import FlowRuntimeError, RowError, shortened
from flowkit_runtime.preprocessing import encode
from flowkit_runtime.streaming.sources import naming_rows
from flowkit_runtime.streaming.table_sources import column_types, columns_of, in_batches
from flowkit_runtime.streaming.tables import Type, open_table
from flowkit_runtime.values import as_numbers, place_of

if TYPE_CHECKING:
    from flowkit_data.plugin import ColumnConfig

VALUES = 2**21
"""About how many values are read together."""


class _Values(NamedTuple):
    """The rows of a file that lack no value.

    Attributes:
        rows: their values, [n, columns of events and contexts].
        keys: what divides them into parts.
        numbers: which rows of the file they are, [n].
        weights: their weights, [n]; None if no column has them.
    """

    rows: np.ndarray
    keys: list[Any]
    numbers: np.ndarray
    weights: np.ndarray | None


class Table(Dataset):
    """Events [n, d], and contexts [n, c] if there are any, from the columns of a table.

    The values are kept in a temporary file, which is memory-mapped, so a table may be larger than the memory. Only the
    order of the rows is held there, and the column that divides them.
    """

    def __init__(
        self,
        path: Path,
        event: Sequence[ColumnConfig],
        context: Sequence[ColumnConfig],
        weight: str | None,
        missing: Missing,
        fractions: Shares,
        split: str | None,
        group: str | None,
        time: str | None,
        val: Path | None,
        test: Path | None,
    ):
        events, contexts = (tuple(each.described() for each in part) for part in (event, context))
        self.preprocessing, self.weight = Preprocessing(events, contexts, missing), weight
        self.division = Division(fractions, split, group, time)
        given: dict[PartName, Path | None] = {"val": val, "test": test}
        self.path, self.files = path, {part: file for part, file in given.items() if file is not None}

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data. Raises DataError if a file can't be read, or a value can't be used."""
        if part in self.files:
            values, _, numbers, weights = self._read(self.files[part], None)
            rows = np.arange(len(values))
        else:
            values, keys, numbers, weights = self._main
            rows = self.division.parts(len(values), keys, list(self.files))[part]
        if not len(rows):
            raise DataError(f"data/table: {self.path} gives no rows to the {part} part{self.division.advice}")
        events = self.preprocessing.event
        return Arrays(
            Rows(values[:, : len(events)], rows),
            Rows(values[:, len(events) :], rows) if self.preprocessing.context else None,
            tuple(column.column for column in events),
            numbers[rows],
            None if weights is None else weights[rows],
        )

    @cached_property
    def _main(self) -> _Values:
        return self._read(self.path, self.division.column)

    def _read(self, path: Path, dividing: str | None) -> _Values:
        """Read a file, and what divides its rows."""
        keys: list[Any] = []
        numbers: list[np.ndarray] = []
        weights: list[np.ndarray] = []

        def rows() -> Iterator[np.ndarray]:
            for batch in self._batches(path, dividing):
                keys.extend(batch.keys)
                numbers.append(batch.numbers)
                if batch.weights is not None:
                    weights.append(batch.weights)
                yield batch.rows

        try:
            values = mapped(rows(), np.float32)
        except FlowRuntimeError as error:
            raise DataError(f"data/table: {error}") from error
        if not len(values):
            raise DataError(f"data/table: {path} has no rows, or each lacks a value")
        width = sum(shape[0] for shape in self.preprocessing.shapes if shape)
        all_weights = np.concatenate(weights) if weights else None
        return _Values(values.reshape(-1, width), keys, np.concatenate(numbers), all_weights)

    def _batches(self, path: Path, dividing: str | None) -> Iterator[_Values]:
        types: dict[str, Type] = column_types(self.preprocessing)
        if dividing is not None:
            types.setdefault(dividing, "text")
        if self.weight is not None:
            types[self.weight] = "number"
        table = open_table(path)
        table.check_columns(types)
        start = 0
        with naming_rows(path):
            for batch in in_batches(table.records(types), max(1, VALUES // len(types))):
                columns = columns_of(batch)
                events, contexts = encode(self.preprocessing, columns, start)
                kept = ~np.isnan(events[:, 0])
                numbers = start + kept.nonzero()[0]
                values = events if contexts is None else np.concatenate([events, contexts], 1)
                keys = [] if dividing is None else self.division.keys(columns[dividing].filter(kept), numbers)
                weights = None if self.weight is None else _weights(columns[self.weight], self.weight, numbers, start)
                yield _Values(values[kept].astype(np.float32), keys, numbers, weights)
                start += len(events)


def _weights(values: Any, name: str, rows: np.ndarray, start: int) -> np.ndarray:
    """Return the weights of some rows of an Arrow array, which begins at the row ``start`` of the file."""
    weights = as_numbers(values, name)[rows - start]
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row, weight = rows[bad.argmax()], weights[bad.argmax()]
        if np.isnan(weight):
            raise RowError(f"there is no weight in column {shortened(repr(name))} of row {row}")
        raise RowError(f"{place_of(name, float(weight), row)}: weights are finite, and 0 or more")
    return weights
