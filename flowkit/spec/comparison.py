"""How two specs differ, defaults filled in, steps that were added or removed told from steps that changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from flowkit.errors import Path, format_path
from flowkit.spec.alignment import align
from flowkit.spec.line import line
from flowkit.spec.model import KEYS, Spec


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""Stands for a value that one of the specs doesn't have."""


@dataclass(frozen=True)
class Difference:
    """What is at ``path`` in the first spec and in the second; the path is the second's where only that has it."""

    path: Path
    before: Any
    after: Any

    @property
    def sign(self) -> Literal["+", "-", "~"]:
        """Added, removed or changed."""
        return "+" if self.before is ABSENT else "-" if self.after is ABSENT else "~"

    def __str__(self) -> str:
        values = (line(value) for value in (self.before, self.after) if value is not ABSENT)
        return f"{self.sign} {format_path(self.path)}: {' -> '.join(values)}"


def compare(first: Spec, second: Spec) -> list[Difference]:
    """All differences, in the order of the fields; none for specs that say the same, however they are written."""
    return list(_compare(first.model_dump(mode="json"), second.model_dump(mode="json"), ()))


def _compare(before: Any, after: Any, path: Path) -> Iterator[Difference]:
    if before == after:
        return
    if _comparable(before, after):
        for key in dict.fromkeys([*before, *after]):
            yield from _compare(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif _mappings(before) and _mappings(after):
        yield from _compare_lists(before, after, path)
    else:
        yield Difference(path, before, after)


def _comparable(before: Any, after: Any) -> bool:
    """Two mappings with the same meaning: the fields of two plugins have nothing in common."""
    return isinstance(before, dict) and isinstance(after, dict) and before.get("use") == after.get("use")


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _compare_lists(before: list[Any], after: list[Any], path: Path) -> Iterator[Difference]:
    """Equal entries are found first. Between them, entries of one kind are compared, in order; others come or go."""
    for equal, rows, columns in align(list(map(_identity, before)), list(map(_identity, after))):
        if not equal:
            yield from _compare_runs(before[rows], after[columns], path, rows.start, columns.start)


def _compare_runs(before: list[Any], after: list[Any], path: Path, row: int, column: int) -> Iterator[Difference]:
    """Parts of two lists that have no equal entries, and where they begin."""
    for alike, rows, columns in align(list(map(_kind, before)), list(map(_kind, after))):
        if alike:
            yield from _compare(before[rows.start], after[columns.start], (*path, row + rows.start))
        else:
            for index, entry in enumerate(before[rows], row + rows.start):
                yield Difference((*path, index), entry, ABSENT)
            for index, entry in enumerate(after[columns], column + columns.start):
                yield Difference((*path, index), ABSENT, entry)


def _identity(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _kind(entry: dict[str, Any]) -> str:
    """What a step is, its fields aside: the plugin's name, or the key that tells steps apart."""
    return str(entry.get("use")) if "use" in entry else " ".join(key for key in KEYS if key in entry)
