"""Reads files of tables, CSV, Parquet and Arrow, as batches of Arrow arrays."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from flowkit_runtime.columns import no_columns
from flowkit_runtime.errors import InputError, shortened
from flowkit_runtime.files import open_file
from flowkit_runtime.streaming.sources import counted, extra

_BLOCK = 2**20  # bytes of CSV that are parsed at a time; a line must not be longer
_LINE = 64  # the most bytes of a number
_SAMPLE = 2**16  # bytes from which the length of a line is estimated
_KINDS = {"double": "holds no number", "string": "isn't UTF-8 text"}
_BAD_VALUE = re.compile(r"CSV column #(\d+): Row #(\d+): CSV conversion error to (double|string): ")
_LONGEST = 2**26  # bytes of a first line that is looked at
_OTHER_FILES = {
    b"\x1f\x8b": "it is compressed: unpack it with gunzip",
    b"PK\x03\x04": "it is a spreadsheet or an archive: save it as CSV",
    b"PAR1": "it is a Parquet file: let its name end with .parquet",
    b"ARROW1": "it is an Arrow file: let its name end with .arrow",
    b"\xff\xfe": "it is UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16 text: save it as UTF-8",
}
_BAD_LINE = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")

_REAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|-\d+")
_ROW = re.compile(rb"\s*[-+.\d]+(e[-+]?\d+)?( +[-+.\d]+(e[-+]?\d+)?)+\s*")

Type = Literal["number", "text"]
"""The ways to read the values of a CSV file's column. The other formats have types of their own."""
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
        counts = Counter(self.columns)
        wrong = [name for name in names if counts[name] != 1]
        if wrong:
            missing = [name for name in wrong if name not in counts]
            twice = f"more than one column {shortened(repr(wrong[0]))}"
            problem = no_columns(missing, self.columns) if missing else twice
            raise InputError(f"{self.path} has {problem}; its columns are {shortened(', '.join(self.columns))}")


class Parquet(TableFile):
    """A Parquet file. Row groups before the first requested row are not read."""

    def __init__(self, path: Path) -> None:
        with self._file(path) as file:
            self.path, self.columns, self.rows = path, file.schema_arrow.names, file.metadata.num_rows

    def _file(self, path: Path) -> Any:
        parquet = extra("pyarrow.parquet", "pyarrow", "reading Parquet")
        with _reading(path, "Parquet"):
            # Read one page at a time: if a file was written in one piece, its only row group is the whole file.
            return parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK)

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
        with open_file(path) as file:
            header = file.readline(_LONGEST)
            file.seek(0)
            sample = file.read(_SAMPLE)
        if problem := _not_csv(sample):
            raise InputError(f"{path} can't be read as CSV: {problem}")
        self.path, self._block = path, max(_BLOCK, _LINE * max(values, header.count(b",")))
        found = self._first_line()
        self.is_headless, self._one_column = self._are_numbers(found), len(found) == 1
        # pandas writes the index without a name, and numbers as names of unnamed columns.
        named = [name for name in found if name]
        are_counted = bool(named) and named == [str(i) for i in range(len(named))]
        if are_counted or (not self.is_headless and any(_REAL.fullmatch(name.strip()) for name in named)):
            begin = f"{path} begins with {','.join(found)[:100]}"
            raise InputError(f"{begin}: a row, or names? Let it begin with the names of the columns")
        if self._one_column and sample[:1] in (b"\r", b"\n"):
            raise InputError(f"{path} begins with an empty line: a missing value? Remove it, or write the value")
        lines = max(1, sample.count(b"\n")) * path.stat().st_size // max(1, len(sample))
        self.columns = [f"f{i}" for i in range(len(found))] if self.is_headless else found
        self.rows = lines - (not self.is_headless)

    def _first_line(self) -> list[str]:
        options = self._csv.ReadOptions(use_threads=False, block_size=self._block)
        # pyarrow reads the following lines together with the first.
        with _reading(self.path, "CSV", self._why):
            reader = self._csv.open_csv(self._without_empty_end(), options)
        return list(reader.schema.names)

    def _without_empty_end(self) -> Any:
        """Open the file without the empty lines at its end, as a stream in pyarrow's own memory.

        A thread of pyarrow may release the stream while the interpreter exits. It aborts the process if the stream has
        a Python object, such as a file or bytes.
        """
        with open_file(self.path) as file:
            size = file.seek(0, io.SEEK_END)
            before = file.seek(max(0, size - _SAMPLE))
            end = before + len(file.read().rstrip(b"\r\n"))
            if end > self._block:
                return self._arrow.OSFile(str(self.path)).get_stream(0, end)
            file.seek(0)
            copy = self._arrow.BufferOutputStream()
            copy.write(file.read(end) + b"\n" * bool(end))  # pyarrow requires the line end if there is one line only
        return self._arrow.BufferReader(copy.getvalue())

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
        kinds = {"number": arrow.float64(), "text": arrow.string()}
        wanted = {name: kinds[type] for name, type in types.items()}
        options = self._csv.ReadOptions(
            use_threads=False, block_size=self._block, autogenerate_column_names=self.is_headless
        )
        parse = self._csv.ParseOptions(ignore_empty_lines=not self._one_column)
        convert = self._csv.ConvertOptions(column_types=wanted, include_columns=list(types), strings_can_be_null=True)
        with _reading(self.path, "CSV", self._why):
            reader = self._csv.open_csv(self._without_empty_end(), options, parse, convert)
            yield from _without_first(reader, start)

    def _why(self, error: Exception) -> str:
        """Return pyarrow's message. Where it would quote the file, only the place is named."""
        text = str(error)
        if found := _BAD_VALUE.search(text):
            column, kind = self.columns[int(found[1])], _KINDS[found[3]]
            row = int(found[2]) - 1 - (not self.is_headless)  # pyarrow counts from 1, and includes the header
            advice = ": save the file as UTF-8" if found[3] == "string" else ""
            return f"column {shortened(repr(column))} of row {row} {kind} ({counted(self.path)}){advice}"
        if found := _BAD_LINE.search(text):
            return f"line {found[1]} has {found[3]} values, not {found[2]} (empty lines don't count)"
        if "straddl" in text:
            return f"a line is longer than {self._block:,} bytes, or quotes in it don't end"
        return shortened(text)


def _not_csv(sample: bytes) -> str | None:
    """Return why the beginning of a file isn't that of CSV, None if it may be."""
    for magic, why in _OTHER_FILES.items():
        if sample.startswith(magic):
            return why
    if not sample.strip():
        return "it is empty"
    if b"\0" in sample:
        return "it holds NUL characters: save it as text in UTF-8"
    lines = sample.splitlines()[:2] or [b""]
    if len(lines) < 2 or b"," in lines[0]:
        separators = [";", "\t"] if b"," not in b"".join(lines[:1]) else []
    else:
        # Names may contain blanks, and a single column may consist of times.
        separators = [";", "\t", *(["|"] if b"|" in lines[1] else []), *([" "] if _ROW.fullmatch(lines[1]) else [])]
    separator = next((each for each in separators if each.encode() in lines[0]), None)
    if separator is None:
        return None
    decimal = ", decimal=','" if b"," in lines[-1] else ""
    new = f"pandas.read_csv(FILE, sep={separator!r}{decimal}).to_csv('x.csv', index=False)"
    return f"its values are separated by {separator!r}: save it with commas and points: {new}"


class Arrow(TableFile):
    """An Arrow file (IPC, also called Feather). Batches before the first requested row are not read."""

    def __init__(self, path: Path) -> None:
        with open_file(path) as start:
            magic = start.read(6)
        if magic.startswith(b"\xff\xff\xff\xff"):
            raise InputError(f"{path} is an Arrow stream: write a file, with pyarrow.ipc.new_file")
        if magic.startswith(b"FEA1"):
            raise InputError(f"{path} has the first version of Feather: write the second, or Parquet")
        with self._file(path) as file:
            self.path, self.columns = path, file.schema.names
            self.rows = sum(file.get_batch(index).num_rows for index in range(file.num_record_batches))

    def _file(self, path: Path) -> Any:
        arrow = extra("pyarrow", "pyarrow", "reading Arrow files")
        with _reading(path, "an Arrow file"):
            return arrow.ipc.open_file(arrow.memory_map(str(path)))

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
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder: give one of its files, or join them into one") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}") from error


@contextmanager
def _reading(path: Path, kind: str, why: Callable[[Exception], str] = shortened) -> Iterator[None]:
    """Turn pyarrow's errors inside the block into an InputError that names the file and the reason."""
    try:
        yield
    except Exception as error:  # pyarrow raises many types of errors
        raise InputError(f"{path} can't be read as {kind}: {why(error)}") from error


def _without_first(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    for batch in batches:
        if batch.num_rows > rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)
