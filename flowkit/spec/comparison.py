"""Compares two specs with defaults filled in. Steps that were added or removed are told from steps that changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flowkit.errors import Path, format_path
from flowkit.plugin.spelling import line
from flowkit.spec.model import KEYS, Spec

ABSENT: Any = object()
"""Stands for a value that one of the specs doesn't have."""


@dataclass(frozen=True)
class Difference:
    """The values at ``path`` in two specs. If only the second spec has a value, the path is that in the second."""

    path: Path
    before: Any
    after: Any

    @property
    def sign(self) -> Literal["+", "-", "~"]:
        """The kind of the difference: added, removed or changed."""
        return "+" if self.before is ABSENT else "-" if self.after is ABSENT else "~"

    def __str__(self) -> str:
        values = (line(value) for value in (self.before, self.after) if value is not ABSENT)
        return f"{self.sign} {format_path(self.path)}: {' -> '.join(values)}"


def spec_differences(first: Spec, second: Spec) -> list[Difference]:
    """Return all differences, in the order of the fields. Specs with the same meaning have none."""
    return list(_compare(first.model_dump(mode="json"), second.model_dump(mode="json"), ((), ())))


Paths = tuple[Path, Path]
"""The place of a value in the first spec, and in the second."""


def _compare(before: Any, after: Any, paths: Paths) -> Iterator[Difference]:
    if before == after:
        return
    if _comparable(before, after):
        for key in dict.fromkeys([*before, *after]):
            yield from _compare(before.get(key, ABSENT), after.get(key, ABSENT), _at(paths, key, key))
    elif _mappings(before) and _mappings(after):
        yield from _compare_lists(before, after, paths)
    else:
        yield Difference(paths[1] if before is ABSENT else paths[0], before, after)


def _at(paths: Paths, first: str | int, second: str | int) -> Paths:
    return (*paths[0], first), (*paths[1], second)


def _comparable(before: Any, after: Any) -> bool:
    """Return True for two mappings with the same meaning. The fields of two plugins have nothing in common."""
    return isinstance(before, dict) and isinstance(after, dict) and before.get("use") == after.get("use")


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _compare_lists(before: list[Any], after: list[Any], paths: Paths) -> Iterator[Difference]:
    """Yield the differences of two lists.

    Equal entries are found first. Between them, entries of one kind are compared, in order. Others were added or
    removed.
    """
    for equal, rows, columns in align(list(map(_identity, before)), list(map(_identity, after))):
        if not equal:
            yield from _compare_runs(before[rows], after[columns], paths, rows.start, columns.start)


def _compare_runs(before: list[Any], after: list[Any], paths: Paths, row: int, column: int) -> Iterator[Difference]:
    """Compare parts of two lists that have no equal entries, and begin at ``row`` and ``column``."""
    for alike, rows, columns in align(list(map(_kind, before)), list(map(_kind, after))):
        if alike:
            here = _at(paths, row + rows.start, column + columns.start)
            yield from _compare(before[rows.start], after[columns.start], here)
        else:
            for index, entry in enumerate(before[rows], row + rows.start):
                yield Difference((*paths[0], index), entry, ABSENT)
            for index, entry in enumerate(after[columns], column + columns.start):
                yield Difference((*paths[1], index), ABSENT, entry)


def _identity(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _kind(entry: dict[str, Any]) -> str:
    """Return the kind of a step, without its fields: the plugin's name, or the key that tells steps apart."""
    return str(entry.get("use")) if "use" in entry else " ".join(key for key in KEYS if key in entry)


def align(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[bool, slice, slice]]:
    """Divide two lists into parts, in order.

    Yield for each part True if it is one entry that corresponds to one, or False if the lists differ there, and the
    places of the part in both lists.

    difflib's time grows with the cube of the length if entries repeat, as the steps of a flow do: it took 16 s for
    1,000 steps for which this takes 1 ms, and a spec may have 4,000.
    """
    row = column = 0
    for next_row, next_column in [*_common(before, after), (len(before), len(after))]:
        if (row, column) != (next_row, next_column):
            yield False, slice(row, next_row), slice(column, next_column)
        row, column = next_row + 1, next_column + 1
        if next_row < len(before):
            yield True, slice(next_row, row), slice(next_column, column)


def _common(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Return places (row, column) of equal entries, both increasing, as many as there can be.

    The whole number rows[j] has bit i set where the lists from i + 1 and from j on have as long a subsequence in
    common as those from i and from j on (Hyyrö 2004, backwards): a row of the table takes a few operations.
    """
    every = (1 << len(before)) - 1
    places: dict[str, int] = {}
    for index, entry in enumerate(reversed(before)):
        places[entry] = places.get(entry, 0) | 1 << index
    rows = [every]
    for entry in reversed(after):
        row = rows[-1]
        equal = row & places.get(entry, 0)
        rows.append((row + equal | row - equal) & every)
    found, row, column = [], 0, 0
    while row < len(before) and column < len(after):
        if before[row] == after[column]:
            found.append((row, column))
            row, column = row + 1, column + 1
        elif rows[len(after) - column] >> (len(before) - 1 - row) & 1:
            row += 1
        else:
            column += 1
    return found
