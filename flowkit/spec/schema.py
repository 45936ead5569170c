"""Composes a JSON Schema of specs from the plugins that are installed, for completion in editors.

An if/then on the key or the name of a step or a plugin decides which schema reads it, not a oneOf over all schemas.
So an editor completes the fields of this plugin, and complains about these alone.
"""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

from flowkit.errors import InstallationWarning
from flowkit.plugin.description import field_schemas, schema_of
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.found import Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.reference import Ref
from flowkit.plugin.registry import Registry
from flowkit.spec.model import KEYS, Spec, UseDirection

DIALECT = "http://json-schema.org/draft-07/schema#"
REFERENCES = "#/definitions/{model}"

Schema = dict[str, Any]


def json_schema(registry: Registry) -> Schema:
    """Return a draft-07 schema with every plugin that can be imported. Their targets aren't imported.

    Warns (InstallationWarning) of a plugin whose fields have no JSON Schema. The schema then takes any fields of it.
    """
    plugins = registry.load_all()[0]
    definitions: Schema = {}
    for found in plugins:
        try:
            definitions |= _plugin(found)
        except Exception as error:  # a field has no JSON Schema: the others shall not suffer for it
            definitions[_key(found)] = _finish(_named(found))
            message = f"the schema takes any fields of plugin {found}, because theirs can't be had: {in_a_line(error)}"
            warnings.warn(message, InstallationWarning, stacklevel=3)
    for kind in KINDS:
        definitions[kind] = _kind(kind, [found for found in plugins if found.kind == kind])
    spec = schema_of(Spec, REFERENCES)
    for reader in KEYS.values():
        if not isinstance(reader, Ref):
            definitions |= {reader.__name__: _finish(schema_of(reader, REFERENCES))}
    readers = {key: "bijector" if isinstance(reader, Ref) else reader.__name__ for key, reader in KEYS.items()}
    definitions |= {name: _finish(definition) for name, definition in spec.pop("$defs").items()}
    return {"$schema": DIALECT, **_finish(spec), "definitions": definitions | {"step": _step(readers, definitions)}}


def _key(found: Found) -> str:
    return found.name.replace("/", ".")  # a slash would need escaping in a $ref


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _plugin(found: Found) -> Schema:
    """Return the schema of ``{use: name, …}``, and those of the mappings in its fields, below names of its own."""
    key = _key(found)
    config = schema_of(found.descriptor.config, f"#/definitions/{key}.{{model}}")
    inner = {f"{key}.{name}": schema for name, schema in config.pop("$defs", {}).items()}
    named = _named(found)
    whole = {
        **config,
        **named,
        "properties": {**named["properties"], **config.get("properties", {})},
        "required": [*named["required"], *config.get("required", [])],
    }
    finished = _finish_all({**inner, key: whole})
    json.dumps(finished, allow_nan=False)  # what an author adds may be no JSON
    return finished


def _named(found: Found) -> Schema:
    """Return the schema of ``{use: name, …}`` with any fields."""
    use = {"const": found.name, "description": found.descriptor.summary + _one_way(found)}
    inverse = field_schemas(UseDirection) if found.kind == "bijector" else {}
    return {"type": "object", "title": found.name, "properties": {"use": use, **inverse}, "required": ["use"]}


def _one_way(found: Found) -> str:
    directions = found.descriptor.directions
    return f" (directions: {directions})" if directions != "both" else ""


def _kind(kind: str, plugins: list[Found]) -> Schema:
    """Return the schema of any plugin of this kind."""
    if not plugins:
        return {"not": {}, "description": f"no {kind} is installed"}
    use = {
        "enum": [found.name for found in plugins],
        "enumDescriptions": [found.descriptor.summary for found in plugins],
        "description": f"The {kind}'s name.",
    }
    choices = [
        {"if": {"properties": {"use": {"const": found.name}}, "required": ["use"]}, "then": _ref(_key(found))}
        for found in plugins
    ]
    return {"type": "object", "required": ["use"], "properties": {"use": use}, "allOf": choices}


def _step(readers: dict[str, str], definitions: Schema) -> Schema:
    """Return the schema of any step of a flow. ``readers`` maps the key of a step to the definition that reads it."""
    about = {key: {"description": definitions[name].get("description", f"A {name}.")} for key, name in readers.items()}
    return {
        "type": "object",
        "properties": about,
        "anyOf": [{"required": [key]} for key in readers],
        "allOf": [{"if": {"required": [key]}, "then": _ref(name)} for key, name in readers.items()],
    }


def _finish(schema: Any) -> Any:
    """Put references to kinds where fields left a mark, and write as draft-07 what pydantic writes otherwise."""
    if isinstance(schema, list):
        return [_finish(item) for item in schema if _finite(item)]
    if not isinstance(schema, dict):
        return schema
    fields = _finish_all(schema.get("properties", {}))
    for field in fields.values():
        field.pop("title", None)  # it only repeats the name
    schema = {name: _finish(item) for name, item in schema.items() if name != "properties" and _finite(item)}
    if fields:
        schema["properties"] = fields
    if "prefixItems" in schema:
        schema["items"] = schema.pop("prefixItems")
    if "x-flowkit" in schema:
        schema |= _ref(schema.pop("x-flowkit"))
    if "$ref" in schema and len(schema) > 1:  # draft-07 reads nothing beside it
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    return _without_null(schema)


def _finish_all(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Finish each of several schemas by name. A field may have any name, such as ``properties``."""
    return {name: _finish(schema) for name, schema in schemas.items()}


def _finite(value: Any) -> bool:
    """Return False for NaN and infinity, which JSON doesn't have: a bound of infinity says nothing."""
    return not isinstance(value, float) or math.isfinite(value)


def _without_null(schema: Schema) -> Schema:
    """Write ``type: [integer, null]`` for anyOf, which editors explain better.

    A default of null is removed if null isn't allowed.
    """
    match schema:
        case {"anyOf": [{"type": str() as kind} as value, {"type": "null"}]} if not {"enum", "const"} & value.keys():
            schema = schema | value | {"type": [kind, "null"]}
            del schema["anyOf"]
        case {"default": None} if "anyOf" not in schema and "null" not in schema.get("type", "null"):
            del schema["default"]
    return schema
