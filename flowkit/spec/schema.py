"""A JSON Schema of specs, for completion in editors, composed of the plugins that are installed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import models_json_schema

from flowkit.plugin.descriptor import CONFIG_BASES
from flowkit.plugin.registry import Found, Registry
from flowkit.spec.model import Coupling, FactorOut, Repeat, Spec

DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema(registry: Registry) -> dict[str, Any]:
    """A draft-07 schema with every plugin that can be imported. Imports plugin modules, not their targets."""
    plugins, _ = registry.installed()
    try:
        return _compose(plugins)
    except PydanticUserError:  # a field of some plugin has no JSON Schema: the others shall not suffer for it
        return _compose([found for found in plugins if _has_schema(found.descriptor.config)])


def _compose(plugins: list[Found]) -> dict[str, Any]:
    configs = [found.descriptor.config for found in plugins]
    models: list[type[BaseModel]] = list(dict.fromkeys([Spec, Repeat, Coupling, FactorOut, *configs]))
    references, shared = models_json_schema([(model, "validation") for model in models])
    names = {model: references[model, "validation"]["$ref"].removeprefix("#/$defs/") for model in models}
    generated = shared["$defs"]

    definitions = {name: generated[name] for name in generated if name not in {names[config] for config in configs}}
    spec = definitions.pop(names[Spec])
    definitions |= {_key(found): _plugin(found, generated[names[found.descriptor.config]]) for found in plugins}
    for kind in CONFIG_BASES:
        definitions[kind] = _one_of([_key(found) for found in plugins if found.kind == kind])
    definitions["step"] = _one_of(["bijector", *(names[model] for model in (Repeat, Coupling, FactorOut))])
    return {"$schema": DIALECT, **_finish(spec), "$defs": _finish(definitions)}


def _has_schema(config: type[BaseModel]) -> bool:
    try:
        config.model_json_schema()
    except PydanticUserError:
        return False
    return True


def _key(found: Found) -> str:
    return found.name.replace("/", ".")  # a slash would need escaping in a $ref


def _plugin(found: Found, config: dict[str, Any]) -> dict[str, Any]:
    """The schema of ``{use: name, …}``."""
    return {
        **config,
        "title": found.name,
        "properties": {"use": {"const": found.name}, **config.get("properties", {})},
        "required": ["use", *config.get("required", [])],
    }


def _one_of(names: list[str]) -> dict[str, Any]:
    return {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in names]} if names else {"not": {}}


def _finish(schema: Any) -> Any:
    """Puts references to kinds where fields left a mark, and writes tuples as draft-07 has them."""
    if isinstance(schema, list):
        return [_finish(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _finish(item) for name, item in schema.items()}
    if "x-flowkit" in schema:
        schema["$ref"] = f"#/$defs/{schema.pop('x-flowkit')}"
    if "prefixItems" in schema:
        schema["items"] = schema.pop("prefixItems")
    return schema
