"""Suggests what may have been meant. It is imported only on the way to an error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel

from flowkit.errors import Path, PluginError, format_path
from flowkit.plugin.config import Documented
from flowkit.plugin.reference import Reader, Ref
from flowkit.plugin.registry import Registry, UnknownPlugin
from flowkit.spec.document import enter
from flowkit.spec.model import KEYS, Spec, StepReader
from flowkit.spec.text import FLOAT, INTEGER

NAME = re.compile(r"[\w-]+/[\w-]+")
SECTIONS: list[Path] = [(), ("event",), ("context",), ("train",), ("train", "optimizer")]
"""The sections to which a misplaced field often belongs."""

MAX_FIELDS = 20
"""The most fields of a mapping that are listed."""

NUMBERS = {"int_type", "int_from_float", "float_type"}
LISTS = {"list_type", "tuple_type"}
WORDS = dict.fromkeys(["yes", "on", "true", "y"], "true") | dict.fromkeys(["no", "off", "false", "n"], "false")
"""The words for true and false in older YAML and in other languages."""


def on_unknown_field(path: Path, data: Any, registry: Registry) -> str:
    """Suggest a field of this name elsewhere, or the fields here, for the key that ``path`` ends in."""
    name, around = str(path[-1]), path[:-1]
    fields = fields_at(around, data, registry)
    if blank := _blank(name, fields):
        return blank
    if place := next((each for each in _near(around, data, registry) if name in fields_at(each, data, registry)), None):
        return f"{name} belongs in {format_path(place)}"
    if name in fields_at((), data, registry):
        return f"{name} is a section of its own: give it the indentation of flow"
    return did_you_mean([name], fields) or _listed(fields)


def on_step(value: Any, message: str) -> tuple[str, str | None]:
    """Return a message and a suggestion for a step that has none of KEYS, or several."""
    if isinstance(value, str):
        return message, _blank(value, KEYS) or _use(value)
    if not isinstance(value, dict):
        return message, None
    if several := [key for key in KEYS if key in value]:
        return f"has both {' and '.join(several)}: {message}", None
    if near := did_you_mean(value, KEYS):
        return message, near
    for item in value.values():
        if isinstance(item, str) and NAME.fullmatch(item):
            return message, _use(item)
    return message, f"does {next(iter(value))} belong to the step above? Then delete the dash" if value else None


def on_reference(value: Any, kind: str, registry: Registry) -> str | None:
    """Suggest how to write the plugin that a text may have meant."""
    if not isinstance(value, str):
        return None
    try:
        return _use(registry.look_up(kind, value).name)
    except UnknownPlugin as error:
        return _use(value) or error.suggestion()
    except PluginError:
        return None


def on_transformer(path: Path, value: Any, registry: Registry) -> str | None:
    """Suggest the steps that take a transformer if one stands where a step should."""
    if not isinstance(path[-1], int):
        return None
    try:
        name = registry.look_up("transformer", value["use"]).name
    except PluginError:
        return None
    use = f"{{use: {name}}}"
    return (
        f"write coupling: {use}, and beside it conditioner: {{use: …}}; or elementwise: {use}, or autoregressive: {use}"
    )


def fields_here(path: Path, data: Any, registry: Registry) -> str:
    """Name the fields of the mapping that belongs at ``path``."""
    return _listed(fields_at(path, data, registry))


def on_value(path: Path, value: Any, kinds: set[str], expected: str) -> str | None:
    """Suggest how to write ``value`` as what it must be: a number, a boolean, a list, text, one of some words."""
    if isinstance(value, str):
        return _on_text(path, value, kinds, expected)
    if "string_type" in kinds and isinstance(value, int | float):
        return "put it in quotes"
    if kinds & LISTS and isinstance(value, dict) and path[-1] == "flow":
        wrong = next((key for key in value if key.startswith("-")), None)
        return f"write a blank after the dash: - {wrong[1:]}" if wrong else "begin each step with a dash"
    if kinds & LISTS and path[-1] == "shape" and isinstance(value, int) and not isinstance(value, bool):
        return f"write [{value}]"
    return None


def _on_text(path: Path, text: str, kinds: set[str], expected: str) -> str | None:
    if kinds & NUMBERS and (number := _number(text, whole="float_type" not in kinds)):
        return "remove the quotes" if number == text else f"write {number}"
    if INTEGER.fullmatch(text) and text in re.split(", | or ", expected):
        return "remove the quotes"
    if text.lower() in ("none", "nil"):
        return "write null for none"
    if "bool_type" in kinds and text.lower() in WORDS:
        return f"write {WORDS[text.lower()]}, without quotes"
    if kinds & LISTS and path[-1] == "shape" and re.fullmatch(r"\(?[0-9]+(\s*[x×,]\s*[0-9]+)*,?\)?", text):
        return f"write [{', '.join(re.findall('[0-9]+', text))}]"
    if kinds & LISTS and path[-1] == "flow" and NAME.fullmatch(text):
        return f"write [{{use: {text}}}]"
    if "model_type" in kinds and (found := re.fullmatch(r"(\w+):(\S.*)", text)):
        return f"write a blank after the colon: {found[1]}: {found[2]}"
    return did_you_mean([text], re.findall("'([^']*)'", expected))


def _number(text: str, whole: bool) -> str | None:
    """Return the number that was meant: 1000 for 1_000, 0.1 for 0,1."""
    plain = text.strip().replace("_", "").replace(",", "" if whole else ".")
    return plain if INTEGER.fullmatch(plain) or (FLOAT.fullmatch(plain) and not whole) else None


def _near(around: Path, data: Any, registry: Registry) -> Iterator[Path]:
    """Yield mappings within this one, beside it and around it, and the sections of a spec."""
    for holder in (around, around[:-1]):
        yield from ((*holder, field) for field in fields_at(holder, data, registry) if (*holder, field) != around)
    yield from (path for path in [around[:-1], *SECTIONS] if path)


def _blank(text: str, fields: Iterable[str]) -> str | None:
    """Suggest the missing blank: YAML reads ``epochs:3`` as one word."""
    name, colon, rest = text.partition(":")
    return f"write a blank after the colon: {name}: {rest}" if colon and name in fields else None


def _use(name: str) -> str | None:
    return f"write {{use: {name}}}" if NAME.fullmatch(name) else None


def _listed(fields: dict[str, str]) -> str:
    names = list(fields)
    return f"fields here: {', '.join(names[:MAX_FIELDS]) or 'none'}{', …' * (len(names) > MAX_FIELDS)}"


def did_you_mean(names: Iterable[str], choices: Iterable[str]) -> str | None:
    """Return the choices nearest to one of ``names``. Only the first few names that aren't too long are tried."""
    options = list(choices)
    found: dict[str, None] = {}
    for name in list(names)[:MAX_FIELDS]:
        found |= dict.fromkeys(difflib.get_close_matches(name[:100], options, n=2))
    return f"did you mean {' or '.join(found)}?" if found else None


def fields_at(path: Path, data: Any, registry: Registry) -> dict[str, str]:
    """Return the fields of the mapping at ``path``, each with its purpose; none if the mapping can't be told."""
    reader: Any = Spec
    for part in path:
        if isinstance(part, str):  # an entry of a list is read by what reads the list
            model = _model(reader, data, registry)
            field = model.model_fields.get(part) if model else None
            reader = _reader(field.metadata, field.annotation) if field else None
        data = enter(data, part)
        if isinstance(reader, StepReader) and isinstance(part, int):
            reader = StepReader.choose(data)
    use = {"use": "The plugin's name"} if isinstance(reader, Ref) else {}
    model = _model(reader, data, registry)
    if model is None:
        return use
    docs = model.field_docs()
    return use | {name: " ".join(docs.get(name, "").split()) for name in model.model_fields}


def _model(reader: Any, data: Any, registry: Registry) -> type[Documented] | None:
    """Return the model that reads the mapping ``data``. For a reference it is the config of the named plugin."""
    if not isinstance(reader, Ref):
        return reader if isinstance(reader, type) and issubclass(reader, Documented) else None
    try:
        return registry.look_up(reader.kind, data["use"]).descriptor.config
    except (PluginError, LookupError, TypeError, AttributeError):
        return None


def _reader(metadata: list[Any], annotation: Any) -> Any:
    """Return the Ref, StepReader or model that a field's type names, also within a list or a union."""
    for marker in (*metadata, annotation):
        if isinstance(marker, Reader) or (isinstance(marker, type) and issubclass(marker, BaseModel)):
            return marker
    for argument in reversed(get_args(annotation)):  # Annotated has the markers behind the type
        if found := _reader([], argument):
            return found
    return None
