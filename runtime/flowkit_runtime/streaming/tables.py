"""Reads files of tables, CSV, Parquet and Arrow, as batches of Arrow arrays."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from flowkit_runtime.errors import InputError, shortened
from flowkit_runtime.files import open_file
from flowkit_runtime.streaming.sources import extra

_BLOCK = 2**20  # bytes of CSV that are parsed at a time; a line must not be longer
_LINE = 64  # the most bytes of a number
_SAMPLE = 2**16  # bytes from which the length of a line is estimated
_KINDS = {"double": "number", "int64": "whole number"}
_BAD_VALUE = re.compile(r"CSV column #(\d+): Row #(\d+): CSV conversion error to (double|int64): ")
_BAD_LINE = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")

Type = Literal["number", "label", "text"]
"""How the values of a CSV file's column are read. The other formats have types of their own."""
TABLES = (".csv", ".parquet", ".arrow", ".feather")
"""The suffixes of files that hold tables."""


class TableFile(ABC):
    """A file with a table. It is read in batches, from any row on, in constant memory.

    Attributes:
        path: the file.
        columns: the names of all columns.
        rows: the number of rows. For CSV it is an estimate, because only reading the file tells it.
    """

    path: Path
    columns: Sequence[str]
    rows: int

    def count(self) -> int:
        """Return the exact number of rows."""
        return self.rows

    @abstractmethod
    def records(self, types: Mapping[str, Type], start: int = 0) -> Iterator[Any]:
        """Yield Arrow's record batches of some columns, beginning at row ``start``."""

    def check_columns(self, names: Iterable[str]) -> None:
        """Raise InputError for a name that isn't that of one column."""
        for name in names:
            if self.columns.count(name) != 1:
                problem = "has no column" if name not in self.columns else "has more than one column"
                found = shortened(", ".join(self.columns))
                raise InputError(f"{self.path} {problem} {shortened(repr(name))}; its columns are {found}")


class Parquet(TableFile):
    """A Parquet file. Row groups before the first requested row are not read."""

    def __init__(self, path: Path) -> None:
        with self._file(path) as file:
            self.path, self.columns, self.rows = path, file.schema_arrow.names, file.metadata.num_rows

    def _file(self, path: Path) -> Any:
        parquet = extra("pyarrow.parquet", "pyarrow", "reading Parquet")
        try:
            # Read one page at a time: if a file was written in one piece, its only row group is the whole file.
            return parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK)
        except Exception as error:  # pyarrow raises many types of errors
            raise InputError(f"{path} can't be read as Parquet: {shortened(error)}") from error

    def records(self, types: Mapping[str, Type], start: int = 0) -> Iterator[Any]:
        with self._file(self.path) as file:
            groups = list(range(file.metadata.num_row_groups))
            while groups and start >= file.metadata.row_group(groups[0]).num_rows:
                start -= file.metadata.row_group(groups.pop(0)).num_rows
            batches = file.iter_batches(_BLOCK // 64, groups, list(types), use_threads=False)
            with _reading(self.path, "Parquet"):
                yield from _without_first(batches, start)


class Csv(TableFile):
    """A CSV file, with or without a header.

    It has no header if the values in its first line are numbers, some of which may be missing. Then its columns are
    named f0, f1 and so on.

    The file is always read from the beginning, because only reading it tells where a row begins. In a file of one
    column, an empty line is a missing value, except at the end. Otherwise empty lines are ignored.
    """

    def __init__(self, path: Path, values: int = 1) -> None:
        self._arrow, self._csv = (extra(name, "pyarrow", "reading CSV") for name in ("pyarrow", "pyarrow.csv"))
        self.path, self._block = path, max(_BLOCK, _LINE * values)
        with open_file(path) as file:
            sample = file.read(_SAMPLE)
        header = sample.split(b"\n", 1)[0]
        if b"," not in header and (separator := next((s for s in (";", "\t") if s.encode() in header), None)):
            raise InputError(f"{path}: its values are separated by {separator!r}: save it with commas and points")
        found = self._first_line()
        self._headless, self._one_column = self._are_numbers(found), len(found) == 1
        # pandas writes the index without a name, and numbers as names of unnamed columns.
        named = [name for name in found if name]
        if named and named == [str(i) for i in range(len(named))]:
            raise InputError(f"{path} begins with {','.join(found)[:100]}: a row, or names? Give the columns names")
        if self._one_column and sample[:1] in (b"\r", b"\n"):
            raise InputError(f"{path} begins with an empty line: a missing value? Remove it, or write the value")
        lines = max(1, sample.count(b"\n")) * path.stat().st_size // max(1, len(sample))
        self.columns = [f"f{i}" for i in range(len(found))] if self._headless else found
        self.rows = lines - (not self._headless)

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

    def count(self) -> int:
        first: dict[str, Type] = {self.columns[0]: "text"}
        return sum(batch.num_rows for batch in self.records(first))

    def records(self, types: Mapping[str, Type], start: int = 0) -> Iterator[Any]:
        arrow = self._arrow
        kinds = {"number": arrow.float64(), "label": arrow.int64(), "text": arrow.string()}
        wanted = {name: kinds[type] for name, type in types.items()}
        options = self._csv.ReadOptions(
            use_threads=False, block_size=self._block, autogenerate_column_names=self._headless
        )
        parse = self._csv.ParseOptions(ignore_empty_lines=not self._one_column)
        convert = self._csv.ConvertOptions(column_types=wanted, include_columns=list(types), strings_can_be_null=True)
        file = _WithoutEmptyEnd(self.path) if self._one_column else self.path
        with _reading(self.path, "CSV", self._why):
            yield from _without_first(self._csv.open_csv(file, options, parse, convert), start)

    def _why(self, error: Exception) -> str:
        """Return pyarrow's message. Where it would quote the file, only the place is named."""
        text = str(error)
        if found := _BAD_VALUE.search(text):
            column, kind = self.columns[int(found[1])], _KINDS[found[3]]
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


class Arrow(TableFile):
    """An Arrow file (IPC, also called Feather). Batches before the first requested row are not read."""

    def __init__(self, path: Path) -> None:
        with self._file(path) as file:
            self.path, self.columns = path, file.schema.names
            self.rows = sum(file.get_batch(index).num_rows for index in range(file.num_record_batches))

    def _file(self, path: Path) -> Any:
        arrow = extra("pyarrow", "pyarrow", "reading Arrow files")
        try:
            return arrow.ipc.open_file(arrow.memory_map(str(path)))
        except Exception as error:  # pyarrow raises many types of errors
            raise InputError(f"{path} can't be read as an Arrow file: {shortened(error)}") from error

    def records(self, types: Mapping[str, Type], start: int = 0) -> Iterator[Any]:
        with self._file(self.path) as file, _reading(self.path, "an Arrow file"):
            batches = (file.get_batch(index).select(list(types)) for index in range(file.num_record_batches))
            yield from _without_first(batches, start)


def open_table(path: Path, values: int = 1) -> TableFile:
    """Open a file with a table. A line of CSV has at least this many values.

    Raises InputError if the file has another format, or can't be read.
    """
    formats: dict[str, Callable[[], TableFile]] = {
        ".csv": lambda: Csv(path, values),
        ".parquet": lambda: Parquet(path),
        ".arrow": lambda: Arrow(path),
        ".feather": lambda: Arrow(path),
    }
    if path.suffix.lower() not in formats:
        raise InputError(f"{path} is no table: its name must end with {', '.join(formats)}")
    try:
        open_file(path).close()
        return formats[path.suffix.lower()]()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the name of a column is not UTF-8 text: save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}") from error


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
