"""What pydantic found wrong, in plain words, located, with a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flowkit.errors import Path, Problem
from flowkit.plugin.registry import Registry
from flowkit.spec.document import Document
from flowkit.spec.fields import enter, fields_at
from flowkit.spec.model import KEYS, VERSION

MUST_BE = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""pydantic's error types -> what the value must be."""

COUNTS = {
    "too_short": "must have at least {min_length} entries, not {actual_length}",
    "too_long": "must have at most {max_length} entries, not {actual_length}",
}


def explain(error: ValidationError, document: Document, registry: Registry) -> list[Problem]:
    """The errors as problems. Where a union has tried all its types, those of the type that got furthest."""
    located = [_Located.find(details, document.data, registry) for details in error.errors(include_url=False)]
    outdone = {found.path[:n] for found in located if found.in_union for n in range(len(found.path))}
    groups: dict[Any, list[_Located]] = {}
    for number, found in enumerate(located):
        if not (found.in_union and found.path in outdone):
            alike = found.in_union and found.details["type"] in MUST_BE
            groups.setdefault(found.path if alike else number, []).append(found)
    return [_explain(group, document, registry) for group in groups.values()]


@dataclass(frozen=True)
class _Located:
    """An error at its path in the spec: pydantic's location without the names of a union's types."""

    path: Path
    in_union: bool
    details: ErrorDetails

    @classmethod
    def find(cls, details: ErrorDetails, data: Any, registry: Registry) -> _Located:
        path: Path = ()
        value = data
        for part in details["loc"]:
            in_text = isinstance(value, dict) and part in value
            if in_text or isinstance(part, int) or part in fields_at(path, data, registry):
                path, value = (*path, part), enter(value, part)
        return cls(path, len(path) < len(details["loc"]), details)


def _explain(group: list[_Located], document: Document, registry: Registry) -> Problem:
    path, details = group[0].path, group[0].details
    value, message = details["input"], details["msg"]
    match details["type"]:
        case "missing":
            return _missing(path, details["loc"][-1], document, registry)
        case "extra_forbidden":
            return _unknown(path, document, registry)
        case "literal_error" if path == ("flowkit",):
            reads = f"this flowkit reads version {VERSION} of the spec language"
            return document.problem(path, f"must be {VERSION}, not {show(value)}: {reads}")
        case "step" | "plugin_reference":
            return document.problem(path, message, _suggest_step(value))
        case "unknown_plugin":
            return document.problem((*path, "use"), message, details["ctx"]["suggestion"])
        case kind if kind in MUST_BE:
            return document.problem(path, *_must_be([found.details for found in group]))
        case kind if kind in COUNTS:
            return document.problem(path, COUNTS[kind].format(**details["ctx"]))
    return document.problem(path, message.removeprefix("Value error, "))


def _must_be(alternatives: list[ErrorDetails]) -> tuple[str, str | None]:
    """Message and suggestion."""
    value = alternatives[0]["input"]
    bounds = [{name: _plain(bound) for name, bound in found.get("ctx", {}).items()} for found in alternatives]
    kinds = [MUST_BE[found["type"]].format(**bound) for found, bound in zip(alternatives, bounds, strict=True)]
    expected = " or ".join(dict.fromkeys(kinds))
    suggestion = _did_you_mean([value], re.findall("'([^']*)'", expected)) if isinstance(value, str) else None
    return f"must be {expected}, not {show(value)}", suggestion


def _missing(path: Path, name: str | int, document: Document, registry: Registry) -> Problem:
    around = path[:-1] if path and path[-1] == name else path
    if isinstance(name, int):
        return document.problem(around, "has too few entries")
    purpose = fields_at(around, document.data, registry).get(name)
    return document.problem(around, f"field {name!r} is missing" + (f": {purpose}" if purpose else ""))


def _suggest_step(value: Any) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"[\w-]+/[\w-]+", value):
        return f"write {{use: {value}}}"
    return _did_you_mean(value, KEYS) if isinstance(value, dict) and not KEYS.keys() & value.keys() else None


def _unknown(path: Path, document: Document, registry: Registry) -> Problem:
    fields = fields_at(path[:-1], document.data, registry)
    suggestion = _did_you_mean([str(path[-1])], fields) or f"fields here: {', '.join(fields) or 'none'}"
    return document.key_problem(path, f"unknown field {path[-1]!r}", suggestion)


def _did_you_mean(names: Iterable[str], choices: Iterable[str]) -> str | None:
    options = list(choices)
    found = {near: None for name in names for near in difflib.get_close_matches(name, options, n=2)}
    return f"did you mean {' or '.join(found)}?" if found else None


def _plain(bound: Any) -> str:
    return bound if isinstance(bound, str) else show(bound)


def show(value: Any) -> str:
    """A value as a spec writes it, short."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value if len(value) <= 40 else f"{value[:40]}…")
        case int() | float():
            return repr(value).removesuffix(".0")
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
