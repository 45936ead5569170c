"""What pydantic found wrong, in plain words, located, with a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flowkit.errors import Path, Problem
from flowkit.plugin.registry import Registry
from flowkit.spec.document import Document
from flowkit.spec.fields import fields_at
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
    """One problem for each error."""
    return [_explain(details, document, registry) for details in error.errors(include_url=False)]


def _explain(details: ErrorDetails, document: Document, registry: Registry) -> Problem:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    path = _path(details["loc"], document.data, registry)
    if kind == "extra_forbidden":
        fields = fields_at(path[:-1], document.data, registry)
        return document.key_problem(path, f"unknown field {path[-1]!r}", near([str(path[-1])], fields))
    if kind == "missing":
        return _missing(details["loc"][-1], path, document, registry)
    if path == ("flowkit",):
        message = f"version {show(value)} of the spec language is not known: this flowkit reads version {VERSION}"
        return document.problem(path, message)
    if kind in ("step", "plugin_reference"):
        return document.problem(path, details["msg"], _suggest_step(value))
    if kind == "unknown_plugin":
        return document.problem((*path, "use"), details["msg"], context["suggestion"])
    if kind in MUST_BE:
        must_be = MUST_BE[kind].format(**{name: _bound(bound) for name, bound in context.items()})
        choices = re.findall("'([^']*)'", must_be)
        suggestion = near([value], choices) if choices and isinstance(value, str) else None
        return document.problem(path, f"must be {must_be}, not {show(value)}", suggestion)
    if kind in COUNTS:
        return document.problem(path, COUNTS[kind].format(**context))
    return document.problem(path, details["msg"].removeprefix("Value error, "))


def _path(location: Path, data: Any, registry: Registry) -> Path:
    """A location as a path of the spec: without the names of types that pydantic puts in for unions."""
    path: Path = ()
    value = data
    for part in location:
        if isinstance(part, int) and isinstance(value, list | tuple) and part < len(value):
            value = value[part]
        elif isinstance(part, str) and isinstance(value, dict) and part in value:
            value = value[part]
        elif part in fields_at(path, data, registry):
            value = None  # a default that is wrong here
        else:
            continue
        path = (*path, part)
    return path


def _missing(name: str | int, path: Path, document: Document, registry: Registry) -> Problem:
    if isinstance(name, int):
        return document.problem(path, "has too few entries")
    path = path[:-1] if path[-1:] == (name,) else path
    purpose = fields_at(path, document.data, registry).get(name)
    return document.problem(path, f"field {name!r} is missing" + (f": {purpose}" if purpose else ""))


def _suggest_step(value: Any) -> str | None:
    if isinstance(value, str):
        return f"write {{use: {value}}}" if re.fullmatch(r"[\w-]+/[\w-]+", value) else None
    return near(value, KEYS, otherwise=False) if isinstance(value, dict) else None


def near(names: Iterable[str], choices: Iterable[str], otherwise: bool = True) -> str | None:
    """A "did you mean" for any of the names; else, if ``otherwise``, all choices."""
    ...


def _bound(bound: Any) -> str:
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
