"""Suggests which plugin a name was meant to be, and where it belongs. It is imported only on the way to an error."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from flowkit.errors import Path, PluginError
from flowkit.plugin.registry import Registry, UnknownPlugin
from flowkit.plugin.spelling import line
from flowkit.spec.model import KEYS
from flowkit.spec.other_words import other_plugin, other_words

NAME = re.compile(r"[\w-]+/[\w-]+")
WHOLE_FLOWS = {"flow": "nsf", "nsf": "nsf", "maf": "maf", "iaf": "maf"} | {
    "glow": "glow",
    "nice": "realnvp",
    "realnvp": "realnvp",
}
"""What whole flows are called -> the preset that makes such a one."""

FILES = {".npy": "data/npy", ".csv": "data/table", ".parquet": "data/table", ".arrow": "data/table", "/": "data/images"}
"""How the name of a file or a folder ends -> the dataset that reads it."""

PLACES = {
    "transformer": "write coupling: {use}, and beside it conditioner: {{use: …}}; or elementwise: {use}, or "
    "autoregressive: {use}",
    "base": "write base: {use} as a section of its own, beside flow",
}
"""Kinds of plugins that are no steps -> where they stand."""


def on_reference(value: Any, kind: str, registry: Registry) -> str | None:
    """Suggest how to write the plugin that a value may have meant."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "delete the dash, or the brackets [ ]" if len(value) == 1 else f"keep one of the {len(value)}"
    if isinstance(value, dict) and "use" not in value and (renamed := _use_in(value)):
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


def _use_in(value: dict[str, Any]) -> str | None:
    """Suggest ``use`` for the field of a mapping that names a plugin, or for the name that stands there alone."""
    for key, item in value.items():
        if item is None and NAME.fullmatch(key):
            return f"write use: {key}"
        if isinstance(item, str) and (NAME.fullmatch(item) or "use" in other_words(key)):
            return f"write use in the place of {key}"
    return None


def on_use(path: Path, name: Any, registry: Registry) -> str | None:
    """Suggest what is meant where `use` names a plugin of another kind, or a step."""
    if called := re.fullmatch(rf"({NAME.pattern})\(([^()]*)\)", name):
        fields = re.sub(r"\s*=\s*", ": ", called[2])
        return f"write use: {called[1]}" + f", and beside it {fields}" * bool(fields)
    if path[-1] in ("coupling", "elementwise", "autoregressive"):
        return _on_transformer(str(path[-1]), name, registry)
    if not isinstance(path[-1], int):
        return other_plugin(name)
    if name in KEYS:
        return f"write {name}: in the place of use: {name}"
    if "dequanti" in name:
        return "delete this step: data with levels gets uniform noise, or that of the section dequantization"
    if whole := on_whole_flow(name):
        return whole
    for kind, advice in PLACES.items():
        with suppress(PluginError):
            return advice.format(use=f"{{use: {registry.look_up(kind, name).name}}}")
    return other_plugin(name)


def on_whole_flow(name: str) -> str | None:
    """Suggest the preset that writes the steps of a whole flow, where one is named."""
    preset = WHOLE_FLOWS.get(re.split("[/.]", name)[-1].lower())
    shape = "[3, 32, 32]" if preset == "glow" else "[2]"
    return (
        preset
        and f"write the steps of the flow: in Python, print(flowkit.presets.{preset}({shape})) prints such a flow"
    )


def _on_transformer(key: str, name: str, registry: Registry) -> str | None:
    """Suggest where a network or a bijector belongs that stands in the place of a transformer."""
    for kind in ("conditioner", "masked-conditioner"):
        with suppress(PluginError):
            network = registry.look_up(kind, name).name
            return f"write {key}: {{use: glow/affine}}, for example, and beside it conditioner: {{use: {network}}}"
    with suppress(PluginError):
        return f"write - use: {registry.look_up('bijector', name).name} as a step of its own"
    return None


def written_use(name: str) -> str | None:
    """Suggest the mapping that names a plugin, if this is a plugin's name."""
    return f"write {{use: {name}}}" if NAME.fullmatch(name) else None
