"""Defines the dataset ``data/table``, which reads CSV, Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows
from flowkit.plugin.rows import mapped, row_indices
from flowkit_data.parts import Division, Shares, check_enough
from flowkit_data.roles import Labels, weights_of_column
from flowkit_runtime.columns import Missing, Preprocessing
from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.preprocessing import encode
from flowkit_runtime.streaming.sources import naming_rows
from flowkit_runtime.streaming.table_sources import column_types, columns_of, in_parts
from flowkit_runtime.streaming.tables import Type, open_table

if TYPE_CHECKING:
    from flowkit_data.plugin import ColumnConfig

EMPTY = np.empty(0)


class _Rows(NamedTuple):
    """Rows of a file that lack no value.

    Attributes:
        values: their values, [n, columns of events and contexts].
        keys: what divides them into parts.
        numbers: which rows of the file they are, [n].
        labels: their classes, [n]; None if no column has them.
        weights: their weights, [n]; None if no column has them.
        classes: the names of the labels.
    """

    values: np.ndarray
    keys: list[Any]
    numbers: np.ndarray
    labels: np.ndarray | None
    weights: np.ndarray | None
    classes: tuple[str, ...] = ()


class Table(Dataset):
    """Events [n, d] from the columns of a table, and contexts [n, c] or labels [n] if there are any.

    The values are kept in a temporary file, which is memory-mapped, so a table may be larger than the memory. Only the
    order of the rows is held there, and the columns that divide, label and weight them.

    Args:
        path: A CSV, Parquet or Arrow file.
        event: The columns of the events.
        context: The columns of the contexts. It is empty without any.
        label: The column with the class of each row, or None.
        weight: The column with the weight of each row, or None.
        missing: The treatment of rows that lack a value: ``"refuse"`` or ``"drop"``.
        fractions: The shares of the training, the validation and the test part.
        split: The column that names the part of each row, or None.
        group: The column whose equal values stay in one part, or None.
        time: The column by which rows are sorted, so that the last ones make the test part, or None.
        val: A file of its own for the validation part, or None.
        test: A file of its own for the test part, or None.
    """

    def __init__(
        self,
        path: Path,
        event: Sequence[ColumnConfig],
        context: Sequence[ColumnConfig],
        label: str | None,
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
        self.preprocessing = Preprocessing(events, contexts, missing)
        self.label, self.weight = label, weight
        self.division = Division(fractions, split, group, time)
        given: dict[PartName, Path | None] = {"val": val, "test": test}
        self.path, self.files = path, {part: file for part, file in given.items() if file is not None}

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            DataError: If a file can't be read, a value can't be used, or the part has no rows.
        """
        if part in self.files:
            whole = self._read(self.files[part], None, () if self.label is None else self._main.classes)
            rows = row_indices(len(whole.values))
        else:
            whole = self._main
            rows = self._parts[part]
        if not len(rows):
            if self.division.column is None and not self.files:
                check_enough(len(whole.values), self.division.fractions, f"data/table: {self.path}")
            raise DataError(f"data/table: {self.path} gives no rows to the {part} part{self.division.advice}")
        events = self.preprocessing.event
        contexts = Rows(whole.values[:, len(events) :], rows) if self.preprocessing.context else None
        return Arrays(
            Rows(whole.values[:, : len(events)], rows),
            contexts if whole.labels is None else whole.labels[rows],
            tuple(column.column for column in events),
            Rows(whole.numbers, rows),
            None if whole.weights is None else whole.weights[rows],
            whole.classes,
        )

    @cached_property
    def _parts(self) -> dict[PartName, np.ndarray]:
        return self.division.parts(len(self._main.values), self._main.keys, list(self.files))

    @cached_property
    def _main(self) -> _Rows:
        return self._read(self.path, self.division.column)

    def _read(self, path: Path, dividing: str | None, classes: tuple[str, ...] = ()) -> _Rows:
        """Read a file, and what divides its rows. Labels are the places of its classes, or of these, in their order."""
        parts: list[_Rows] = []
        labels = None if self.label is None else Labels(self.label)
        width = sum(shape[0] for shape in self.preprocessing.shapes if shape)
        record = np.dtype([("values", np.float32, (width,)), ("number", np.int64)])

        def records() -> Iterator[np.ndarray]:
            for batch in self._batches(path, dividing, labels):
                parts.append(batch._replace(values=EMPTY, numbers=EMPTY))
                yield np.rec.fromarrays([batch.values, batch.numbers], record)

        try:
            found = mapped(records(), record)
        except FlowRuntimeError as error:
            raise DataError(f"data/table: {error}") from error
        if not len(found):
            raise DataError(f"data/table: {path} has no rows, or each lacks a value")
        codes, weights = (_joined([getattr(part, name) for part in parts]) for name in ("labels", "weights"))
        if labels is not None and codes is not None:
            classes = classes or labels.classes
            codes = labels.labels(codes, classes, found["number"], path)
        keys = [key for part in parts for key in part.keys]
        return _Rows(found["values"], keys, found["number"], codes, weights, classes)

    def _batches(self, path: Path, dividing: str | None, labels: Labels | None) -> Iterator[_Rows]:
        """Read a file in parts. The labels of their rows are codes."""
        types: dict[str, Type] = column_types(self.preprocessing)
        for name in filter(None, (dividing, self.label)):
            types.setdefault(name, "text")
        if self.weight is not None:
            types[self.weight] = "number"
        table = open_table(path)
        table.check_columns(types)
        start = 0
        with naming_rows(path):
            for batch in in_parts(table, types):
                yield self._rows(columns_of(batch), dividing, labels, start)
                start += batch.num_rows

    def _rows(self, columns: Mapping[str, Any], dividing: str | None, labels: Labels | None, start: int) -> _Rows:
        """Return the rows of a part that lack no value. The part begins at the row ``start`` of the file."""
        events, contexts = encode(self.preprocessing, columns, start)
        codes = None if labels is None else labels.codes(columns[labels.column], self.preprocessing.missing, start)
        kept = ~np.isnan(events[:, 0]) & (True if codes is None else codes >= 0)
        numbers = start + kept.nonzero()[0]
        values = events if contexts is None else np.concatenate([events, contexts], 1)
        return _Rows(
            values[kept].astype(np.float32),
            [] if dividing is None else self.division.keys(columns[dividing].filter(kept), numbers),
            numbers,
            None if codes is None else codes[kept],
            None if self.weight is None else weights_of_column(columns[self.weight], self.weight, numbers, start),
        )


def _joined(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return arrays as one, or None if there are none."""
    some = [each for each in arrays if each is not None]
    return np.concatenate(some) if some else None
