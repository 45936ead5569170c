"""Reads the named values of a request from its body and its query: JSON, .npy, .npz or CSV.

Parquet, Arrow files and compressed bodies aren't taken, because a small one may unpack to any size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

from flowkit_runtime.errors import InputError, quoted, shortened
from flowkit_runtime.files import parse_json, parse_npy, parse_npz
from flowkit_runtime.serving.limits import RefusedError

JSON, NPY, NPZ, CSV = "application/json", "application/x-npy", "application/x-npz", "text/csv"
FORMS = (JSON, NPY, NPZ, CSV)
"""The media types of bodies and of answers."""
TABLE = "table"
"""The name of the content of a CSV body among the values of a request."""
TEXTS = ("columns", "context_columns")
"""The parameters of a query that are texts. The others are JSON."""

Given = dict[str, Any]
"""The values of a request by name."""


def parsed_body(form: str, raw: bytes, takes: Collection[str], main: str, has_classes: bool) -> Given:
    """Return the values in a body of one of FORMS.

    Args:
        form: The form, an entry of FORMS.
        raw: The body.
        takes: The names of the values that the endpoint takes.
        main: The name of the array in a .npy body.
        has_classes: True if the context is a class, which may be given by its name.

    Raises:
        InputError: If the body isn't of this form, or holds other values.
    """
    try:
        if form == NPY:
            return {main: parse_npy(raw)}
        if form == NPZ:
            return dict(parse_npz(raw, takes))
        if form == CSV:
            return {TABLE: raw}
        return _parsed_object(raw, has_classes)
    except ValueError as error:
        raise InputError(f"the body can't be read as {form}: {shortened(error)}") from error


def _parsed_object(raw: bytes, has_classes: bool) -> Given:
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object of named values is wanted, got {type(value).__name__}")
    if raw.count(b'"') > 2 * len(value) or b"null" in raw:  # there are texts beside the names, or nulls
        for name, each in value.items():
            _check_numbers(name, each, has_classes)
    return value


def _check_numbers(name: str, value: Any, has_classes: bool) -> None:
    """Raise InputError for a null or a text, to whose size numpy would bring each number."""
    level = value if isinstance(value, list) and not (has_classes and name == "context") else []
    while level:
        kinds = set(map(type, level))
        for kind, spelled in {str: "text", type(None): "null"}.items():
            if kind in kinds:
                raise InputError(f"{shortened(name)} must hold numbers, and holds {spelled}")
        level = list(chain.from_iterable(each for each in level if isinstance(each, list)))


def parsed_query(pairs: Collection[tuple[str, str]], has_classes: bool) -> Given:
    """Return the parameters of a query. Raises InputError if one is given twice, or isn't JSON.

    With `has_classes` the context may be the name of a class, even if that is a number.
    """
    given: Given = {}
    for name, text in pairs:
        if name in given:
            raise InputError(f"the query has {quoted(name)} twice")
        given[name] = text if name in TEXTS else _parsed_parameter(name, text, has_classes)
    return given


def _parsed_parameter(name: str, text: str, has_classes: bool) -> Any:
    is_class = has_classes and name == "context"
    try:
        value = parse_json(text.encode())
    except ValueError as error:
        if name == "context":  # the name of a class; other texts are refused with what the flow takes
            return text
        raise InputError(f"{shortened(name)}={shortened(text)} in the query is no number or list") from error
    _check_numbers(name, value, has_classes)
    return text if is_class and isinstance(value, int | float) else value


def joined_values(body: Mapping[str, Any], query: Mapping[str, Any], takes: Collection[str]) -> Given:
    """Return the values of body and query. Raises InputError if one is in both, or isn't among those in `takes`."""
    given = {**body, **query}
    if (twice := next((name for name in body if name in query), None)) is not None:
        raise InputError(f"{quoted(twice)} is in the body and in the query")
    known = {*takes, TABLE} if isinstance(body.get(TABLE), bytes) else {*takes}  # only a CSV body has bytes
    if (other := next((name for name in given if name not in known), None)) is not None:
        raise InputError(f"there is no parameter {quoted(other)} here; there are {', '.join(takes)}")
    return {name: value for name, value in given.items() if value is not None}


def body_form(content_type: str | None) -> str:
    """Return the form of a body with this Content-Type. Raises RefusedError if it is none of FORMS."""
    given = (content_type or "").partition(";")[0].strip().lower()
    if given not in FORMS:
        shown = shortened(given) or "missing"
        raise RefusedError(415, f"the Content-Type is {shown}; a body is {', '.join(FORMS)}")
    return given
