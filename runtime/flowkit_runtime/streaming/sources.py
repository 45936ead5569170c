"""Defines sources of events, and what they share: contexts, and errors that name a row.

Arrays are the simplest source.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from flowkit_runtime.bundle import Context
from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.errors import InputError, RowError
from flowkit_runtime.files import map_npy
from flowkit_runtime.inputs import Array, batch, check_context_shape, class_index, context_rows, row_slices

EventRows = tuple[Array, Array | None]
"""Events [n, *event] and their context: one row per event, one for all events, or None."""
AT_ONCE, MOST_AT_ONCE = 2**15, 4096


class Source(ABC):
    """Events in a file or folder.

    Attributes:
        rows: the number of rows. For CSV it is an estimate, because only reading the file tells it.
        names: the names of the events, or None if they have none.
        drops_rows: True if events that lack a value are given as NaN, and have no score.
        lacks_class: True if the context of the model is a class, and the events come without.
        identity: JSON values that change if the data does.
    """

    rows: int
    names: Sequence[str] | None = None
    drops_rows = False
    lacks_class: bool
    identity: list[Any]

    @abstractmethod
    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        """Yield the rows from `start` on, `size` at a time. The last batch may be smaller."""


@dataclass(frozen=True)
class Wanted:
    """The events and contexts that a model takes, and which part of the data to read for them.

    Attributes:
        event_shape, levels, context: those of the model.
        columns: the columns of a table that make an event.
        context_columns: the columns of a table that make its context.
        context_from: the name of a class, its index, or a .npy file, if the context isn't in columns.
        resize: True if images are resized to the event's size.
        preprocessing: that of the table which the flow was trained on; None if there was none.
        seed: the seed of the dequantization noise in a table.
    """

    event_shape: tuple[int, ...]
    levels: int | None
    context: Context | None
    columns: tuple[str, ...] = ()
    context_columns: tuple[str, ...] = ()
    context_from: str | None = None
    resize: bool = False
    preprocessing: Preprocessing | None = None
    seed: int = 0

    @property
    def lacks_class(self) -> bool:
        """True if the context is a class, and nothing is said about it."""
        is_class = self.context is not None and self.context.classes is not None
        return is_class and self.context_from is None and not self.context_columns


class NpySource(Source):
    """An array [n, *event] in a .npy file, of which one part at a time is mapped."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        rows = len(batch(str(path), read_npy(path), wanted.event_shape))
        self.path, self.rows, self.lacks_class = path, rows, wanted.lacks_class
        self._context = contexts(wanted, lambda: self.rows)
        self.identity = [file_identity(path), *context_identity(wanted)]

    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        for part in row_slices(self.rows, size, start):
            # The file is mapped again for each batch, because pages that stay mapped count as this process's memory.
            yield read_npy(self.path)[part].copy(), self._context(part)


def rows_at_once(event_shape: Sequence[int], context: Context | None) -> int:
    """Return the batch size in rows that was measured to be fastest: thousands for tables, hundreds for 8×8 images.

    Batches of wide contexts are smaller, too.
    """
    values = max(math.prod(event_shape), 1 if context is None else math.prod(context.shape))
    return max(1, min(MOST_AT_ONCE, AT_ONCE // values))


def contexts(wanted: Wanted, count: Callable[[], int]) -> Callable[[slice], Array | None]:
    """Return a function that returns the context of a slice of rows.

    The context is a class for all rows, or it is read from a .npy file with one row for all or for each. Without a
    class it is None if a model can do without. `count` returns the number of rows. It is called only if there is one
    context for each row.
    """
    given, kind, path = wanted.context_from, wanted.context, context_file(wanted.context_from)
    if given is None and kind is not None and kind.probabilities:
        return lambda part: None
    if given is None and kind is not None:
        raise no_context(kind)
    if kind is None or path is None:
        for_all = context_rows(given if kind is None or given is None else class_index(given, kind), kind, 1, 0)
        return lambda part: for_all
    array = read_npy(path)

    def rows(part: slice) -> Array | None:
        with naming_rows(path):
            return context_rows(read_npy(path)[part], kind, part.stop - part.start, part.start)

    if array.shape in (kind.shape, (1, *kind.shape)):
        with naming_rows(path):
            one = context_rows(array, kind, 1, 0)
        return lambda part: one
    check_context_shape(array.shape, kind, count())
    return rows


def no_context(kind: Context) -> InputError:
    """Return the error of a command that lacks the context of a flow."""
    option = "FILE.npy" if kind.classes is None else "CLASS"
    return InputError(f"this flow needs a context, {kind}: --context {option}")


def all_contexts(wanted: Wanted) -> Array | None:
    """Return every row of the context that `--context` names, [m, *shape]. It is None as it is in `contexts`."""
    path = context_file(wanted.context_from)
    shape = () if path is None else read_npy(path).shape
    rows = shape[0] if shape else 1
    if not rows:
        raise InputError(f"{path} has no rows")
    return contexts(wanted, lambda: rows)(slice(0, rows))


def counted(path: Path) -> str:
    """Return how messages count the rows of a file."""
    lines = "; below a header, row 0 is usually line 2" if path.suffix.lower() == ".csv" else ""
    return f"rows count from 0{lines}"


@contextmanager
def naming_rows(path: Path) -> Iterator[None]:
    """Make errors of rows that are raised inside the block name the file that contains the row."""
    try:
        yield
    except RowError as error:
        raise InputError(f"{path}: {error} ({counted(path)})") from error


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Make errors of rows and of columns that are raised inside the block name the file."""
    with naming_rows(path):
        try:
            yield
        except RowError:
            raise
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def context_file(given: str | None) -> Path | None:
    """Return the file that `--context` names, or None if its value isn't a file."""
    return Path(given) if given is not None and given.endswith(".npy") else None


def context_identity(wanted: Wanted) -> list[Any]:
    """Return JSON values that change if the context does."""
    path = context_file(wanted.context_from)
    return [wanted.context_from, None if path is None else file_identity(path)]


def file_identity(path: Path) -> list[Any]:
    """Return JSON values that change if a file does: its path, size and modification time."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def read_npy(path: Path) -> Array:
    """Return the memory-mapped array of a .npy file. Raises InputError if it can't be read."""
    try:
        return map_npy(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read as .npy: {why}") from error


def extra(module: str, package: str, why: str) -> ModuleType:
    """Import a module of a package that only some files need. Raises InputError that says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"{why} needs {package}: pip install {package}") from error
