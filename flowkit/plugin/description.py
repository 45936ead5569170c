"""Describes configs in plain words, for `flowkit plugins show` and docs/reference.md. No torch."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from flowkit.domains import Interval
from flowkit.errors import PluginError
from flowkit.plugin.config import EVENT_KEY, Documented, PluginConfig
from flowkit.plugin.found import Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.registry import Registry
from flowkit.plugin.spelling import line, with_article
from flowkit.plugin.strict import parts_of

TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "array": "list",
    "object": "mapping",
}
"""JSON Schema's types -> words."""

BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "{} or more characters",
    "maxLength": "{} or fewer characters",
    "pattern": "matching {}",
    "minItems": "{} or more",
    "maxItems": "{} or fewer",
}
"""JSON Schema's bounds -> words."""


class FieldRow(NamedTuple):
    """One field of a config: the values that it takes, its default, and its purpose."""

    name: str
    type: str
    default: str
    meaning: str


def field_rows(config: type[Documented]) -> list[FieldRow]:
    """Return the fields of a mapping in a spec, in order."""
    docs, schemas = config.field_docs(), field_schemas(config)
    return [FieldRow(name, in_words(schema), _default(config, name), docs[name]) for name, schema in schemas.items()]


def mappings_in(config: type[BaseModel]) -> list[type[Documented]]:
    """Return the mappings that fields of a config hold, those in mappings included. A mapping may hold itself."""
    found: dict[type[Documented], None] = {}
    models = [config]
    for model in models:
        parts = (part for field in model.model_fields.values() for part in parts_of(field.annotation))
        own = [part for part in parts if isinstance(part, type) and issubclass(part, Documented) and part not in found]
        found |= dict.fromkeys(own)
        models += dict.fromkeys(own)
    return list(found)


def schema_of(model: type[BaseModel], references: str = "#/$defs/{model}") -> dict[str, Any]:
    """Return the JSON Schema of a mapping. ``$defs`` has those of other mappings, to which ``references`` point."""
    schema = model.model_json_schema(ref_template=references)
    if "$ref" in schema:  # the model contains itself
        schema |= schema["$defs"][schema.pop("$ref").rpartition("/")[2]]
    return schema


def field_schemas(config: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each field. It allows anything where pydantic can't make one."""
    whole = _whole_schema(config)
    properties = _with_choices(whole.get("properties", {}), whole.get("$defs", {}))
    return {name: properties.get(name, {}) for name in config.model_fields}


def _with_choices(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return the schema with the values of an enum in place of its name, which says nothing to who writes a spec."""
    match schema:
        case {"$ref": reference}:
            definition = definitions[str(reference).rpartition("/")[2]]
            return definition if {"enum", "const"} & definition.keys() else schema
        case dict():
            return {key: _with_choices(part, definitions) for key, part in schema.items()}
        case list():
            return [_with_choices(part, definitions) for part in schema]
    return schema


def in_words(schema: dict[str, Any]) -> str:
    """Put into words what a field's JSON Schema allows."""
    match schema:
        case {"x-flowkit": "step"}:
            return "a step"
        case {"x-flowkit": kind}:
            return f"{with_article(kind)}: {{use: …}}"
        case {"$ref": reference}:
            return str(reference).rpartition("/")[2]
        case {"const": value}:
            return line(value)
        case {"enum": values}:
            return _either(map(line, values))
        case {"format": "domain"}:
            return "a domain: real, positive, [low, high] or {circle: [low, high]}; a list of these for a vector"
        case {"anyOf": options} | {"oneOf": options}:
            return _either(map(in_words, options))
        case {"format": "path"}:
            return "path"
        case {"prefixItems": items}:
            return f"[{', '.join(map(in_words, items))}]"
        case {"type": "array", "items": items} if items:
            each = f"({in_words(items)})" if "anyOf" in items else in_words(items)
            return f"list{_bounds(schema)} of: {each}"
        case {"type": kind}:
            return TYPES[kind] + _bounds(schema)
    return "anything"


def _either(options: Iterable[str]) -> str:
    *rest, last = options
    return f"{', '.join(rest)} or {last}" if rest else last


def _bounds(schema: dict[str, Any]) -> str:
    given = {name: schema[name] for name in BOUNDS if name in schema}
    said = [BOUNDS[name].format(bound if isinstance(bound, str) else line(bound)) for name, bound in given.items()]
    return f" ({', '.join(said)})" if said else ""


def _default(config: type[Documented], name: str) -> str:
    field = config.model_fields[name]
    if field.is_required():
        return "required"
    if config.is_computed(name):
        return "computed"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        return "its defaults"
    plain = to_jsonable_python(default, fallback=str)
    return line(sorted(plain) if isinstance(default, set | frozenset) else plain)


def target_doc(target: str | type) -> str:
    """Return the docstring of a target, read from its source without an import. It is empty if none is found.

    Raises:
        PluginError: If there is no such module, its source isn't Python, or it defines no such name.
    """
    if not isinstance(target, str):
        return inspect.getdoc(target) or ""
    module, _, name = target.partition(":")
    try:
        tree = ast.parse(_source(module))
    except SyntaxError as error:
        raise PluginError(f"{module} can't be imported: {error.msg}, line {error.lineno}") from error
    except (OSError, ValueError):  # it isn't text
        return ""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not (classes or _names(tree) & {name, "*", "__getattr__"}):
        raise PluginError(f"{module} defines no {name}")
    return next((ast.get_docstring(found) or "" for found in classes), "")


def _names(tree: ast.Module) -> set[str]:
    """Return all names that a module may define or import, in whatever way."""
    return {getattr(node, kind) for node in ast.walk(tree) for kind in ("id", "name", "asname") if hasattr(node, kind)}


def _source(module: str) -> str:
    """Return a module's source. Packages are searched one by one, because find_spec would import those around it."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    for name in inner:
        places = spec and spec.submodule_search_locations
        spec = PathFinder.find_spec(name, places) if places else None
    if spec is None or spec.origin is None:
        raise PluginError(f"there is no module {module}")
    return Path(spec.origin).read_text("utf-8")


def example_fields(config: type[BaseModel]) -> dict[str, Any]:
    """Return a value for each required field, of its type and within its bounds.

    The config's own validators may refuse it.
    """
    schemas, definitions = field_schemas(config), _whole_schema(config).get("$defs", {})
    required = (name for name, field in config.model_fields.items() if field.is_required())
    return {name: _value(schemas[name], definitions) for name in required}


@cache  # pydantic takes milliseconds, and advice about a spec tries every plugin
def _whole_schema(config: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a config, which must not be changed. It is empty where pydantic can't make one."""
    try:
        return schema_of(config)
    except PydanticUserError:
        return {}


def example_config(found: Found, registry: Registry) -> PluginConfig | None:
    """Return the config with the fields of `example_fields`, read for an image with levels. None if it refuses them."""
    config, event = found.descriptor.config, SimpleNamespace(shape=(4, 8, 8), levels=256, domains=Interval(0.0, 256.0))
    try:
        return config.model_validate(example_fields(config), context={"registry": registry, EVENT_KEY: event})
    except Exception:  # a validator of the plugin may raise anything
        return None


def _value(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    match schema:
        case {"$ref": reference}:
            return _value(definitions[str(reference).rpartition("/")[2]], definitions)
        case {"x-flowkit": kind}:
            return {"use": KINDS["bijector" if kind == "step" else kind].example}
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"format": "domain"}:
            return [0, 1]
        case {"anyOf": [first, *_]}:
            return _value(first, definitions)
        case {"prefixItems": items}:
            return [_value(item, definitions) for item in items]
        case {"type": "array", "items": item}:
            return [_value(item, definitions)] * max(1, schema.get("minItems", 1))
        case {"type": "object", "properties": properties}:
            return {name: _value(properties[name], definitions) for name in schema.get("required", ())}
        case {"type": "integer"}:
            return _whole_number(schema)
        case {"type": "number"}:
            return _number(schema)
        case {"type": "boolean"}:
            return False
        case {"format": "path"}:
            return "path/to/it"
    return "text"


def _whole_number(schema: dict[str, Any]) -> int:
    """Return the least number within the bounds, in steps of `multipleOf`.

    Without a lower bound it is 1, or the largest number that the upper bound allows.
    """
    step = schema.get("multipleOf", 1)
    most = schema.get("maximum", schema.get("exclusiveMaximum", 2) - 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", min(most, 1) - 1) + 1)
    return -(-least // step) * step


def _number(schema: dict[str, Any]) -> float:
    """Return the middle between the bounds, or the number at distance 1 from the only one."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None else high - 2
    return (low + (low + 2 if high is None else high)) / 2
