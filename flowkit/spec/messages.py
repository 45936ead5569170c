"""Turns pydantic's errors into located problems in plain words, with suggestions."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flowkit.errors import Path, Problem
from flowkit.plugin.registry import Registry
from flowkit.spec import advice
from flowkit.spec.advice_on_plugins import on_reference, on_use
from flowkit.spec.advice_on_values import on_value
from flowkit.spec.document import Document, Place, enter, position
from flowkit.spec.fields import fields_at
from flowkit.spec.model import VERSION
from flowkit.version import __version__
from flowkit_runtime.errors import shortened

MAX_PROBLEMS = 50
"""The most problems that are shown; the rest is counted."""

MUST_BE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""pydantic's error types -> what the value must be."""

SAID = {
    "union_tag_not_found": "field {discriminator} is missing",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}, not '{tag}'",
    "too_short": "must have {min_length} or more entries, not {actual_length}",
    "too_long": "must have at most {max_length} entries, not {actual_length}",
}


def problems_of(error: ValidationError, document: Document, registry: Registry) -> tuple[list[Problem], int]:
    """Return the first MAX_PROBLEMS errors as problems, in the order of the text, and how many more there are.

    If a union has tried all its types, these are the errors of the type that got furthest. If the event is wrong,
    errors of defaults are left out, because defaults may depend on it.
    """
    errors = [details for details in error.errors(include_url=False) if not _is_of_entries(details)]
    located = [_Located.find(details, document.data, registry) for details in errors]
    if any(found.path[:1] == ("event",) for found in located):
        located = [found for found in located if not found.is_of_a_default(document.data)]
    outdone = {found.path[:n] for found in located if found.in_union for n in range(len(found.path))}
    groups: dict[Hashable, list[_Located]] = {}
    for number, found in enumerate(located):
        if not (found.in_union and found.path in outdone):
            groups.setdefault(found.group or number, []).append(found)
    ordered = iter(sorted(groups.values(), key=lambda group: position(group[0].place(document))))
    wrong = (group for group in ordered if not all(_is_renamed(found, document, registry) for found in group))
    shown = [_explain(group, document, registry) for group in islice(wrong, MAX_PROBLEMS)]
    return shown, sum(1 for _ in ordered)


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

    @property
    def group(self) -> Hashable:
        """A key that the errors of one problem share.

        They are those of a union's types, of the entries that a list has too few, and of the steps with a plugin that
        fails in the same way.
        """
        if self.details["type"] == "broken_plugin":
            return "broken_plugin", self.details["msg"]
        if self.details["type"] == "missing" and isinstance(self.path[-1], int):
            return "entries", self.path[:-1]
        return self.path if self.in_union else None

    @property
    def around(self) -> Path:
        """The path of the mapping or list in which a value is missing."""
        return self.path[:-1] if self.path and self.path[-1] == self.details["loc"][-1] else self.path

    def is_of_a_default(self, data: Any) -> bool:
        """Return True if the text leaves out the field that is wrong."""
        if not self.path or self.details["type"] == "missing":
            return False
        *around, last = self.path
        holder = reduce(enter, around, data)
        return isinstance(holder, dict) and last not in holder

    def place(self, document: Document) -> Place:
        return document.place(self.path, at_key=self.details["type"] == "extra_forbidden")


def _explain(group: list[_Located], document: Document, registry: Registry) -> Problem:
    first = next((found for found in group if found.details["type"] not in MUST_BE), group[0])
    path, details = first.path, first.details
    value, message = details["input"], details["msg"]
    match details["type"]:
        case "missing":
            return _missing(group, document, registry)
        case "extra_forbidden" | "unexpected_keyword_argument":
            said = advice.on_unknown_field(path, document.data, registry)
            return document.problem(path, f"unknown field {path[-1]!r}", said.text, at_key=True)
        case "literal_error" | "int_parsing_size" if path == ("flowkit",):
            return document.problem(path, *_version(value))
        case "step":
            return document.problem(path, *advice.on_step(value, message, registry))
        case "plugin_reference":
            return document.problem(path, message, on_reference(value, details["ctx"]["kind"], registry))
        case "unknown_plugin":
            context = details["ctx"]
            suggestion = on_use(path[-1], value["use"], context["kind"], registry) or context["suggestion"]()
            return document.problem((*path, "use"), message, suggestion)
        case "broken_plugin":
            return document.problem(path, shortened(message))
        case kind if kind in MUST_BE:
            kinds = [_must_be(found.details) for found in group]
            suggestion = on_value(path, value, {found.details["type"] for found in group}, " ".join(kinds))
            if suggestion is None and kind == "model_type":
                suggestion = advice.on_mapping(path, value, document.data, registry)
            message = f"must be {' or '.join(dict.fromkeys(kinds))}, not {shown(value)}"
            return document.problem(path, message, suggestion or advice.on_field(path, document.data, registry))
        case kind if kind in SAID:
            return document.problem(path, SAID[kind].format(**details["ctx"]))
    return document.problem(path, shortened(message.removeprefix("Value error, ").removeprefix("Assertion failed, ")))


def _is_renamed(found: _Located, document: Document, registry: Registry) -> bool:
    """Return True for a missing field that an unknown one was meant to be: that one's problem says so."""
    name = found.details["loc"][-1]
    if found.details["type"] != "missing" or not isinstance(name, str):
        return False
    return advice.is_meant(name, found.around, document.data, registry)


def _is_of_entries(details: ErrorDetails) -> bool:
    """Return whether a list is called too short only because some of its entries are wrong."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _must_be(details: ErrorDetails) -> str:
    bounds = {name: bound if isinstance(bound, str) else shown(bound) for name, bound in details.get("ctx", {}).items()}
    return MUST_BE[details["type"]].format(**bounds)


def _missing(group: list[_Located], document: Document, registry: Registry) -> Problem:
    name, around = group[0].details["loc"][-1], group[0].around
    if isinstance(name, int):
        wanted = max(int(found.details["loc"][-1]) for found in group) + 1
        message = f"must have {wanted} entries, not {len(group[0].details['input'])}"
        return document.problem(around, message, advice.on_field(around, document.data, registry))
    purpose = fields_at(around, document.data, registry).get(str(name), "").removesuffix(".")
    message = f"field {name!r} is missing" + (f": {purpose}" if purpose else "")
    return document.problem(around, message, advice.on_missing(around, str(name), document.data))


def _version(value: Any) -> tuple[str, str]:
    """Return the message and the suggestion for a wrong ``flowkit: 1``."""
    reads = f"this flowkit ({__version__}) reads version {VERSION} of the spec language"
    if isinstance(value, int) and value > VERSION:
        return f"is version {shown(value)}; {reads}", "update flowkit"
    return f"must be {VERSION}, not {shown(value)}: {reads}", f"write flowkit: {VERSION}"


def shown(value: Any) -> str:
    """Return a value as a spec writes it, shortened."""
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return str(value).lower().removesuffix(".0")
        case str():
            return repr(value if len(value) <= 40 else f"{value[:40]}…")
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
