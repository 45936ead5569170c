"""Reads tables, CSV and Parquet, with numbers in columns and one event per row."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flowkit_runtime.errors import InputError, shortened
from flowkit_runtime.files import open_file
from flowkit_runtime.inputs import Array
from flowkit_runtime.streaming.sources import EventRows, Wanted, context_identity, contexts, extra, file_identity

_BLOCK = 2**20  # bytes of CSV that are parsed at a time; a line must not be longer
_LINE = 64  # the most bytes of a number
_SAMPLE = 2**16  # bytes from which the length of a line is estimated
_KINDS = {"double": "number", "int64": "whole number"}
_BAD_VALUE = re.compile(r"CSV column #(\d+): Row #(\d+): CSV conversion error to (double|int64): ")
_BAD_LINE = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


class Table:
    """The chosen columns of a table.

    Subclasses provide the names of all columns, the number of rows, and the record batches.
    """

    names = None

    def __init__(self, path: Path, wanted: Wanted, found: Sequence[str], rows: int) -> None:
        self.path, self.rows = path, rows
        self._wanted = wanted
        self._context_columns = self._named(wanted.context_columns, found)
        rest = [name for name in found if name not in self._context_columns]
        self._columns = self._named(wanted.columns, found) or rest
        self._check_numbers(found)
        self._context = None if self._context_columns else contexts(wanted, self._count)
        self.identity = [
            file_identity(path),
            self._columns,
            self._context_columns,
            *context_identity(wanted),
        ]

    @property
    def chosen(self) -> list[str]:
        """The columns to read."""
        return [*self._columns, *self._context_columns]

    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        held: list[Any] = []
        first, count = start, 0
        for batch in self._records(start):
            held.append(batch)
            count += batch.num_rows
            while count >= size:
                yield self._rows(held, first, size)
                first, count = first + size, count - size
        if count:
            yield self._rows(held, first, count)

    def _count(self) -> int:
        """Return the exact number of rows."""
        return self.rows

    def _records(self, start: int) -> Iterator[Any]:
        """Yield record batches of the chosen columns, beginning at row `start`."""
        raise NotImplementedError

    def _rows(self, held: list[Any], first: int, size: int) -> EventRows:
        """Remove `size` rows from the beginning of `held`, and return them. `first` is the number of the first one."""
        parts: dict[str, list[Array]] = {name: [] for name in self.chosen}
        at, end = first, first + size
        while at < end:
            batch = held.pop(0)
            if batch.num_rows > end - at:
                held.insert(0, batch.slice(end - at))
            # A look-up by name in a batch searches all of its columns.
            found = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name, part in parts.items():
                part.append(self._numbers(found[name].slice(0, end - at), name, at))
            at += batch.num_rows
        columns = {name: np.concatenate(part) for name, part in parts.items()}
        events = np.stack([columns[name] for name in self._columns], 1).reshape(size, *self._wanted.event_shape)
        if self._context is not None:
            return events, self._context(slice(first, first + size))
        context, spec = np.stack([columns[name] for name in self._context_columns], 1), self._wanted.context
        assert spec is not None  # context columns require a context
        return events, context[:, 0] if spec.classes is not None else context.reshape(size, *spec.shape)

    def _numbers(self, column: Any, name: str, first: int) -> Array:
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise InputError(
                f"{self.path} has no value in column {shortened(repr(name))} of row {first + row} (rows count from 0)"
            )
        try:
            if str(column.type).startswith("decimal"):
                column = column.cast("float64")
            array: Array = column.to_numpy(zero_copy_only=False)
        except Exception as error:  # from pyarrow
            raise InputError(
                f"{self.path}: column {shortened(repr(name))} can't be read: {shortened(error)}"
            ) from error
        if array.dtype.kind not in "biuf":
            kind = f"column {shortened(repr(name))} holds {shortened(column.type)}"
            raise InputError(f"{self.path}: {kind}, not numbers; choose with --columns")
        return array

    def _named(self, names: Sequence[str], found: Sequence[str]) -> list[str]:
        for name in names:
            if found.count(name) != 1:
                problem = "has no column" if name not in found else "has more than one column"
                raise InputError(f"{self.path} {problem} {name!r}; its columns are {shortened(', '.join(found))}")
        return list(names)

    def _check_numbers(self, found: Sequence[str]) -> None:
        wanted = self._wanted
        if wanted.context is None and self._context_columns:
            raise InputError("this model takes no context; leave --context-columns out")
        if len(set(self.chosen)) < len(self.chosen):
            raise InputError(f"{self.path}: a column is chosen twice: {shortened(', '.join(self.chosen))}")
        self._check_number(self._columns, math.prod(wanted.event_shape), "an event", "--columns", found)
        if wanted.context is not None and self._context_columns:
            needed = math.prod(wanted.context.shape)
            self._check_number(self._context_columns, needed, "a context", "--context-columns", found)

    def _check_number(self, columns: list[str], needed: int, what: str, option: str, found: Sequence[str]) -> None:
        if len(columns) != needed:
            separator = next((s for s in ";\t" if len(found) == 1 and s in found[0]), None)
            raise InputError(
                f"{self.path}: {what} of this flow has {needed} value{'s' * (needed != 1)}, and there are "
                f"{len(columns)} columns ({shortened(', '.join(columns))}); "
                + (f"separate values by commas, not by {separator!r}" if separator else f"choose with {option} a,b,…")
            )


class Parquet(Table):
    """A Parquet file. Row groups before the first requested row are not read."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        with self._file(path) as file:
            super().__init__(path, wanted, file.schema_arrow.names, file.metadata.num_rows)

    def _file(self, path: Path) -> Any:
        parquet = extra("pyarrow.parquet", "pyarrow", "reading Parquet")
        try:
            # Read one page at a time: if a file was written in one piece, its only row group is the whole file.
            return parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK)
        except Exception as error:  # pyarrow raises many types of errors
            raise InputError(f"{path} can't be read as Parquet: {shortened(error)}") from error

    def _records(self, start: int) -> Iterator[Any]:
        with self._file(self.path) as file:
            groups = list(range(file.metadata.num_row_groups))
            while groups and start >= file.metadata.row_group(groups[0]).num_rows:
                start -= file.metadata.row_group(groups.pop(0)).num_rows
            batches = file.iter_batches(_BLOCK // 64, groups, self.chosen, use_threads=False)
            with _reading(self.path, "Parquet"):
                yield from _without_first(batches, start)


class Csv(Table):
    """A CSV file, with or without a header.

    It has no header if the values in its first line are numbers, some of which may be missing. Then its columns are
    named f0, f1 and so on.

    The file is always read from the beginning, because only reading it tells where a row begins. In a file of one
    column, an empty line is a missing value, except at the end. Otherwise empty lines are ignored.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._arrow, self._csv = (extra(name, "pyarrow", "reading CSV") for name in ("pyarrow", "pyarrow.csv"))
        self.path, self._block = path, max(_BLOCK, _LINE * math.prod(wanted.event_shape))
        with open_file(path) as file:
            sample = file.read(_SAMPLE)
        found = self._first_line()
        self._headless, self._one_column = self._are_numbers(found), len(found) == 1
        # pandas writes the index without a name, and numbers as names of unnamed columns.
        named = [name for name in found if name]
        if named and named == [str(i) for i in range(len(named))]:
            raise InputError(f"{path} begins with {','.join(found)[:100]}: a row, or names? Give the columns names")
        if self._one_column and sample[:1] in (b"\r", b"\n"):
            raise InputError(f"{path} begins with an empty line: a missing value? Remove it, or write the value")
        lines = max(1, sample.count(b"\n")) * path.stat().st_size // max(1, len(sample))
        self._found = [f"f{i}" for i in range(len(found))] if self._headless else found
        super().__init__(path, wanted, self._found, lines - (not self._headless))

    def _first_line(self) -> list[str]:
        options = self._csv.ReadOptions(use_threads=False, block_size=self._block)
        # pyarrow reads the following lines together with the first.
        with _reading(self.path, "CSV", self._why), _WithoutEmptyEnd(self.path) as file:
            reader = self._csv.open_csv(file, options)
        return list(reader.schema.names)

    def _are_numbers(self, names: Sequence[str]) -> bool:
        """Return True if a line with these values is read as numbers, some of which may be missing."""
        missing = self._csv.ConvertOptions().null_values
        given = [name.strip() for name in names if name.strip() not in missing]
        try:
            self._arrow.array(given, self._arrow.string()).cast(self._arrow.float64())
        except ValueError:
            return False
        return True

    def _count(self) -> int:
        return sum(batch.num_rows for batch in self._records(0))

    def _records(self, start: int) -> Iterator[Any]:
        context = self._wanted.context
        kind = self._arrow.int64() if context is not None and context.classes is not None else self._arrow.float64()
        types = dict.fromkeys(self._columns, self._arrow.float64()) | dict.fromkeys(self._context_columns, kind)
        options = self._csv.ReadOptions(
            use_threads=False, block_size=self._block, autogenerate_column_names=self._headless
        )
        parse = self._csv.ParseOptions(ignore_empty_lines=not self._one_column)
        convert = self._csv.ConvertOptions(column_types=types, include_columns=list(types))
        file = _WithoutEmptyEnd(self.path) if self._one_column else self.path
        with _reading(self.path, "CSV", self._why):
            yield from _without_first(self._csv.open_csv(file, options, parse, convert), start)

    def _why(self, error: Exception) -> str:
        """Return pyarrow's message. Where it would quote the file, only the place is named."""
        text = str(error)
        if found := _BAD_VALUE.search(text):
            column, kind = self._found[int(found[1])], _KINDS[found[3]]
            row = int(found[2]) - 1 - (not self._headless)  # pyarrow counts from 1, and includes the header
            return f"column {shortened(repr(column))} of row {row} holds no {kind} (rows count from 0)"
        if found := _BAD_LINE.search(text):
            return f"line {found[1]} has {found[3]} values, not {found[2]} (empty lines don't count)"
        return shortened(text)


class _WithoutEmptyEnd(io.RawIOBase):
    """A file without the empty lines at its end, and with a line end after its last line.

    pyarrow requires that if the last line has a single value.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_file(path)
        size = self._file.seek(0, io.SEEK_END)
        before = self._file.seek(max(0, size - _SAMPLE))
        self._left = before + len(self._file.read().rstrip(b"\r\n"))
        self._end = b"\n" if self._left else b""
        self._file.seek(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        # The end is added at once, because pyarrow takes a read that gives too little for the end of the file.
        if not self._left and count < len(buffer):
            buffer[count : count + len(self._end)] = self._end
            count, self._end = count + len(self._end), b""
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def open_table(path: Path, wanted: Wanted) -> Table:
    """Open the table of a .csv or .parquet file. Raises InputError if it can't be read."""
    try:
        open_file(path).close()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    try:
        return (Csv if path.suffix.lower() == ".csv" else Parquet)(path, wanted)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the name of a column is not UTF-8 text: save the file as UTF-8") from error


@contextmanager
def _reading(path: Path, kind: str, why: Callable[[Exception], str] = shortened) -> Iterator[None]:
    """Turn pyarrow's errors inside the block into an InputError that names the file and the reason."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as {kind}: {why(error)}") from error


def _without_first(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    for batch in batches:
        if batch.num_rows > rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)
