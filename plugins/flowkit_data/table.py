"""Defines the dataset ``data/table``, which reads CSV, Parquet and Arrow files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows
from flowkit.plugin.rows import mapped, row_indices
from flowkit_data.parts import Division, Shares, check_enough
from flowkit_runtime.columns import MAX_CATEGORIES, Column, Missing, Preprocessing
from flowkit_runtime.errors import FlowRuntimeError, shortened
from flowkit_runtime.preprocessing import class_names, encode
from flowkit_runtime.streaming.sources import naming_rows
from flowkit_runtime.streaming.table_sources import column_types, columns_of, in_parts
from flowkit_runtime.streaming.tables import Type, open_table
from flowkit_runtime.values import as_numbers, as_text

if TYPE_CHECKING:
    from flowkit_data.plugin import ColumnConfig


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
        self.listed = Preprocessing(events, contexts, missing)
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
            whole, _ = self._read(self.files[part], None)
            rows = row_indices(len(whole))
        else:
            whole, _ = self._main
            rows = self._parts[part]
        if not len(rows):
            if self.division.column is None and not self.files:
                check_enough(len(whole), self.division.fractions, f"data/table: {self.path}")
            raise DataError(f"data/table: {self.path} gives no rows to the {part} part{self.division.advice}")
        d = len(self.listed.event)
        events, others = whole["values"][:, :d], whole["values"][:, d:]
        contexts = Rows(others, rows) if self.listed.context else None
        return Arrays(
            Rows(events, rows),
            contexts if self.label is None else Rows(others[:, 0], rows, np.int64)[:],
            tuple(column.column for column in self.listed.event),
            Rows(whole["number"], rows),
            None if self.weight is None else Rows(whole["weight"], rows)[:],
            self._classes,
        )

    @cached_property
    def _parts(self) -> dict[PartName, np.ndarray]:
        rows, keys = self._main
        return self.division.parts(len(rows), keys, list(self.files))

    @cached_property
    def _main(self) -> tuple[np.ndarray, list[Any]]:
        return self._read(self.path, self.division.column)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """The names of the classes in the main file, in the order of the labels."""
        if self.label is None:
            return ()
        table = open_table(self.path)
        table.check_columns([self.label])
        names: set[str | None] = set()
        for batch in in_parts(table, {self.label: "text"}):
            names.update(as_text(columns_of(batch)[self.label], self.label))
            if len(names) > MAX_CATEGORIES:
                name = shortened(repr(self.label))
                raise DataError(f"data/table: column {name} has more than {MAX_CATEGORIES:,} classes")
        return class_names(names)

    @cached_property
    def _preprocessing(self) -> Preprocessing:
        if self.label is None:
            return self.listed
        return replace(self.listed, label=Column(self.label, "category", categories=self._classes))

    def _read(self, path: Path, dividing: str | None) -> tuple[np.ndarray, list[Any]]:
        """Return the rows of a file that lack no value, and what divides them into parts.

        A row is a record of its values, those of the events and of the contexts or the label; of its number in the
        file; and of its weight, if a column has one.
        """
        keys: list[Any] = []
        try:
            width = sum(math.prod(shape) for shape in self._preprocessing.shapes if shape is not None)
            fields = [("values", np.float32, (width,)), ("number", np.int64)]
            record = np.dtype([*fields, *([] if self.weight is None else [("weight", np.float64)])])
            found = mapped(self._records(path, dividing, keys, record), record)
        except FlowRuntimeError as error:
            raise DataError(f"data/table: {error}") from error
        if not len(found):
            raise DataError(f"data/table: {path} has no rows, or each lacks a value")
        return found, keys

    def _records(self, path: Path, dividing: str | None, keys: list[Any], record: np.dtype) -> Iterator[np.ndarray]:
        """Yield the rows of a file, and add what divides them to ``keys``."""
        types: dict[str, Type] = column_types(self._preprocessing)
        if dividing is not None:
            types.setdefault(dividing, "text")
        if self.weight is not None:
            types[self.weight] = "number"
        table = open_table(path)
        table.check_columns(types)
        start = 0
        with naming_rows(path):
            for batch in in_parts(table, types):
                columns = columns_of(batch)
                events, contexts = encode(self._preprocessing, columns, start)
                kept = ~np.isnan(events[:, 0])
                numbers = start + kept.nonzero()[0]
                if dividing is not None:
                    keys += self.division.keys(columns[dividing].filter(kept), numbers)
                values = events if contexts is None else np.column_stack([events, contexts])
                weights = [] if self.weight is None else [as_numbers(columns[self.weight], self.weight)[kept]]
                yield np.rec.fromarrays([values[kept].astype(np.float32), numbers, *weights], record)
                start += batch.num_rows
