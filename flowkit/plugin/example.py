"""Values for the fields that a config requires, so that a plugin can be shown at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from flowkit.plugin.config import PluginConfig
from flowkit.plugin.description import field_schemas
from flowkit.plugin.event import KEY
from flowkit.plugin.found import Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.registry import Registry


def example_fields(config: type[BaseModel]) -> dict[str, Any]:
    """A value for each required field, of its type and within its bounds. The config's own validators may refuse it."""
    schemas = field_schemas(config)
    return {name: _value(schemas[name]) for name, field in config.model_fields.items() if field.is_required()}


def example_config(found: Found, registry: Registry) -> PluginConfig | None:
    """The config with these fields, read for an image with levels; None if it refuses them."""
    config, event = found.descriptor.config, SimpleNamespace(shape=(4, 8, 8), levels=256)
    try:
        return config.model_validate(example_fields(config), context={"registry": registry, KEY: event})
    except Exception:  # of a validator of the plugin's own
        return None


def _value(schema: dict[str, Any]) -> Any:
    match schema:
        case {"x-flowkit": kind}:
            return {"use": KINDS["bijector" if kind == "step" else kind].example}
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]}:
            return _value(first)
        case {"prefixItems": items}:
            return [_value(item) for item in items]
        case {"type": "array", "items": item}:
            return [_value(item)] * max(1, schema.get("minItems", 1))
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
    """The least that the bounds let through, in steps of `multipleOf`; 1, or the most, where nothing is the least."""
    step = schema.get("multipleOf", 1)
    most = schema.get("maximum", schema.get("exclusiveMaximum", 2) - 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", min(most, 1) - 1) + 1)
    return -(-least // step) * step


def _number(schema: dict[str, Any]) -> float:
    """In the middle between the bounds, or 1 from the only one."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None else high - 2
    return (low + (low + 2 if high is None else high)) / 2
