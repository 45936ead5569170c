"""Suggests which plugin a name was meant to be, and where it belongs. It is imported only on the way to an error."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from flowkit.errors import PluginError
from flowkit.plugin.registry import Registry, UnknownPlugin
from flowkit.plugin.spelling import line
from flowkit.spec.model import KEYS
from flowkit.spec.other_words import other_words

NAME = re.compile(r"[\w-]+/[\w-]+")

FILES = {".npy": "data/npy", ".csv": "data/table", ".parquet": "data/table", ".arrow": "data/table", "/": "data/images"}
"""How the name of a file or a folder ends -> the dataset that reads it."""

NETWORK = "write {key}: {{use: glow/affine}}, for example, and beside it conditioner: {{use: {name}}}"
MISPLACED = {
    ("bijector", "transformer"): "write coupling: {{use: {name}}}, and beside it conditioner: {{use: …}}; "
    "or elementwise: {{use: {name}}}, or autoregressive: {{use: {name}}}",
    ("bijector", "base"): "write base: {{use: {name}}} as a section of its own, beside flow",
    ("transformer", "conditioner"): NETWORK,
    ("transformer", "masked-conditioner"): NETWORK,
    ("transformer", "bijector"): "write - use: {name} as a step of its own",
}
"""The kind that belongs in a place, and that of the plugin that stands there -> where it belongs."""


def on_reference(value: Any, kind: str, registry: Registry) -> str | None:
    """Suggest how to write the plugin that a value may have meant."""
    if isinstance(value, dict) and "use" not in value and (renamed := use_in(value)):
        return renamed
    name = value if isinstance(value, str) else ""
    if name.startswith("{"):
        return "remove the quotes"
    if kind == "dataset" and (found := next((use for end, use in FILES.items() if name.lower().endswith(end)), None)):
        return f"write {{use: {found}, path: {line(name)}}}; `flowkit new FILE` writes the whole spec"
    try:
        return written_use(registry.look_up(kind, name).name)
    except UnknownPlugin as error:
        return written_use(name) or error.suggestion()
    except PluginError:
        return None


def use_in(value: dict[str, Any]) -> str | None:
    """Suggest ``use`` for the field of a mapping that names a plugin, or for the name that stands there as a key."""
    for key, item in value.items():
        if NAME.fullmatch(key):
            return f"write use: {key}" + (", and its fields below" if isinstance(item, dict) else "")
        if "use" in other_words(key) or (isinstance(item, str) and NAME.fullmatch(item)):
            return f"write use in the place of {key}"
    return None


def on_use(key: str | int, name: str, kind: str, registry: Registry) -> str | None:
    """Suggest what is meant where `use` below ``key`` names no plugin of this kind."""
    if kind == "bijector" and name in KEYS:
        return f"write {name}: in the place of use: {name}"
    with suppress(PluginError):
        advice = MISPLACED.get((kind, registry.look_up(None, name).kind))
        if advice and (kind == "bijector" or key in KEYS or key == "kept"):  # not in a field of a plugin
            return advice.format(key=key, name=name)
    return None


def written_use(name: str) -> str | None:
    """Suggest the mapping that names a plugin, if this is a plugin's name."""
    return f"write {{use: {name}}}" if NAME.fullmatch(name) else None
