"""Makes pydantic read numbers and booleans in specs as what they are: '3' is no number, and 1 is no truth value.

pydantic's own strict mode would also refuse what a text can't say otherwise: a list for a tuple, text for a Path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic_core import PydanticKnownError, core_schema


def make_strict(schema: Any) -> None:
    """Change the core schema of a model, in place, however deep in it a number or boolean stands."""
    if isinstance(schema, list | tuple):
        for part in schema:
            make_strict(part)
    if not isinstance(schema, dict):
        return
    for name, part in schema.items():
        if name not in ("default", "expected", "metadata", "keys_schema"):  # keys are text in every spec
            make_strict(part)
    match schema:
        case {"type": "int" | "float" | "bool"}:
            schema["strict"] = True
        case {"type": "literal", "expected": expected} if not {False, True}.isdisjoint(expected):
            literal = dict(schema)
            schema.clear()
            schema.update(core_schema.no_info_before_validator_function(_TellFromBool(expected), literal))


def parts_of(annotation: Any) -> Iterator[Any]:
    """Yield a type and those that it is made of: for ``list[int] | None`` also list[int], int and None."""
    yield annotation
    for argument in get_args(annotation):
        yield from parts_of(argument)


@dataclass(frozen=True)
class _TellFromBool:
    """Tells numbers from booleans, which Python takes for equal to 1 and 0."""

    expected: list[Any]

    def __call__(self, value: Any) -> Any:
        if any(value == wanted and isinstance(value, bool) != isinstance(wanted, bool) for wanted in self.expected):
            *others, last = map(repr, self.expected)
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticKnownError("literal_error", {"expected": expected})
        return value
