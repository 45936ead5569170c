"""Defines documents: specs as plain data, with the place in the text of each key and value."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from numbers import Integral, Real
from typing import Any, NoReturn

from flowkit.errors import Path, Problem, SpecError

MAX_BYTES = 2**20
"""The most that a spec may have, in UTF-8."""

MAX_VALUES = 32_000
"""The most mappings, lists and scalars of a spec: 4,096 columns need 20,500, and reading takes time."""

MAX_DEPTH = 64
"""The most levels that mappings and lists may nest."""

TOO_LONG = f"is longer than {MAX_BYTES // 2**20} MB, the most that a spec may have"
TOO_MANY = f"has more than {MAX_VALUES:,} values, the most that a spec may have"

MAX_DIGITS = 100
"""The most digits of a number. Python itself gives up at 4300, where an error has to show the number."""

OVERRIDES = "--set"
"""The name that problems in an override give as their file."""

LONE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair is no character, and can't be written to a file."""


@dataclass(frozen=True)
class Place:
    """A place in a text, counted from 1, with the text of its line."""

    file: str
    line: int | None = None
    column: int | None = None
    source: str | None = None

    def fail(self, message: str, path: Path = (), suggestion: str | None = None) -> NoReturn:
        """Raise SpecError with this one problem."""
        raise SpecError([Problem(path, message, suggestion, *astuple(self))])


def position(place: Place | Problem) -> tuple[int, int]:
    """Return a sort key: the position in the text. Overrides come behind the text, in their own order."""
    if place.file == OVERRIDES:
        return sys.maxsize, 0
    return place.line or 0, place.column or 0


@dataclass
class Document:
    """A spec as mappings, lists and scalars. Places are keyed by path; data that comes from Python has none."""

    data: Any
    file: str = "<spec>"
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)

    @classmethod
    def from_python(cls, data: Mapping[str, Any]) -> Document:
        """Return a document with a copy of data made in Python. Raises SpecError if no text could say the same."""
        copied = _copy(dict(data), ())
        if _count(copied) > MAX_VALUES:
            Place("<spec>").fail(TOO_MANY)
        return cls(copied)

    def problem(self, path: Path, message: str, suggestion: str | None = None, at_key: bool = False) -> Problem:
        """Return a problem with the value, or the key, at ``path``."""
        return Problem(path, message, suggestion, *astuple(self.place(path, at_key)))

    def place(self, path: Path, at_key: bool = False) -> Place:
        """Return the place of the value, or key, at ``path``, or of the nearest value around it that the text has."""
        if at_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(self.file))

    def graft(self, path: Path, branch: Document) -> None:
        """Take over the places of ``branch``, whose data has become the value at ``path``."""
        for mine, new in ((self.keys, branch.keys), (self.values, branch.values)):
            for old in [known for known in mine if known[: len(path)] == path]:
                del mine[old]
            mine.update({(*path, *inner): place for inner, place in new.items()})


def enter(data: Any, part: str | int) -> Any:
    """Return the entry of a mapping or list, or None if it has no such entry."""
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _copy(value: Any, path: Path) -> Any:
    if len(path) > MAX_DEPTH:
        Place("<spec>").fail(f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list | tuple):
        return [_copy(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            Place("<spec>").fail("a key must be text", path)
        return {_copy(key, path): _copy(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, Real) and not isinstance(value, int | float):  # such as numpy's
        value = int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        Place("<spec>").fail(f"a number of more than {MAX_DIGITS} digits", path)
    if isinstance(value, str) and LONE.search(value):
        Place("<spec>").fail("half of a surrogate pair is not text", path)
    return whole(value) if isinstance(value, float) else value


def _count(value: Any) -> int:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 1
    return 1 + sum(map(_count, value))


def whole(number: float) -> int | float:
    """Return a float that is a whole number as an int, as JSON reads 1.0 and 1e3.

    Numbers that are too large to be exact stay floats.
    """
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
