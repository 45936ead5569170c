"""Suggests what may have been meant. It is imported only on the way to an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

from flowkit.errors import Path, format_path
from flowkit.plugin.registry import Registry, near_names
from flowkit.plugin.spelling import did_you_mean, line
from flowkit.spec.advice_on_plugins import use_in, written_use
from flowkit.spec.document import enter
from flowkit.spec.fields import fields_at, required_at
from flowkit.spec.model import KEYS, VERSION
from flowkit.spec.other_words import other_words, words_of

SECTIONS: list[Path] = [("event",), ("context",), ("train",), ("train", "optimizer")]
"""The sections to which a misplaced field often belongs."""

MAX_FIELDS = 20
"""The most fields of a mapping that are listed."""
MAX_TEXT = 100
"""The most characters of a text that advice repeats."""

LISTS_FOR: dict[Path, str] = {("event",): "shape", ("context",): "shape", ("dequantization",): "flow"}
"""The field that is meant if a section is a list, and not a mapping."""
COMMON = {"name", "use"}
"""Fields that tell nothing about where they belong if they stand at the top."""

EXAMPLES = {
    "flowkit": f"begin the spec with flowkit: {VERSION}",
    "event": "add event: {shape: [2]}, for example",
    "flow": "add flow: [{use: glow/actnorm}], for example",
    "conditioner": "add conditioner: {use: glow/mlp}, for example",
}
"""What to write where a field of this name is missing."""

STEP_OF = {"flow": "repeat", "conditioner": "coupling", "split": "coupling", "kept": "coupling"} | {
    "order": "autoregressive",
    "base": "factor_out",
}
"""A field of a step -> the key of that step."""


class Advice(NamedTuple):
    """Says what to do about an unknown field, and names the fields of the same mapping that it may stand for."""

    text: str
    meant: Sequence[str] = ()


def on_unknown_field(path: Path, data: Any, registry: Registry) -> Advice:
    """Suggest a field of this name elsewhere, or the fields here, for the key that ``path`` ends in."""
    name, around = str(path[-1]), path[:-1]
    fields, present = fields_at(around, data, registry), reduce(enter, around, data)
    called = [word for word in (f"{name}_", *other_words(name)) if word in fields and word not in present]
    if not called and (elsewhere := _elsewhere(name, around, data, registry)):
        return Advice(elsewhere)
    meant = called or _meant(name, fields, present)
    if twice := [word for word in meant if word in present and word in other_words(name)]:
        return Advice(f"delete one of {name} and {twice[0]}")
    if not meant and (nearby := _meant_nearby(name, around, data, registry)):
        return Advice(nearby)
    if meant := meant or _missing(around, data, registry):
        return Advice(did_you_mean(meant), meant)
    instead = f", or take one of the {_listed(fields)}" if fields else ""
    return Advice(f"delete {name if name.isidentifier() else 'this line'}{instead}")


def _elsewhere(name: str, around: Path, data: Any, registry: Registry) -> str | None:
    """Suggest where an unknown field of the mapping at ``around`` belongs."""
    places = _places_of(name, around, data, registry)
    if emptied := [place for place in places if not around and place[-1] in data and data[place[-1]] is None]:
        return f"{name} belongs in {format_path(emptied[0])}: indent it"
    head, dot, tail = name.partition(".")
    if dot and head in fields_at(around, data, registry):
        return f"write {head}: and below it, indented, {tail}"
    if around and name in fields_at((), data, registry) and name not in data:
        return f"{name} is a section of its own: give it the indentation of {around[0]}"
    if places and (around or name not in COMMON):
        return f"{name} belongs in {' or '.join(map(format_path, places[:1] if around else places))}"
    return None


def _meant(name: str, fields: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the fields that may be meant: by their name in other libraries, by a common word, or by spelling."""
    if meant := [word for word in other_words(name) if word in fields]:
        return meant
    words = [word for word in words_of(name) if word in fields and word not in present]
    return words[:1] or alike([name], fields) or [field for field in fields if name in words_of(field)]


def _meant_nearby(name: str, path: Path, data: Any, registry: Registry) -> str | None:
    """Suggest the field of a section nearby that has this name in another library."""
    for word in other_words(name):
        for place in _places_of(word, path, data, registry):
            return f"{did_you_mean([word])} It belongs in {format_path(place)}"
    return None


def on_missing(path: Path, name: str, data: Any) -> str | None:
    """Suggest how to give the mapping at ``path`` the field ``name``."""
    entry = reduce(enter, path, data)
    is_later_entry = bool(path) and isinstance(path[-1], int) and path[-1] > 0
    if is_later_entry and isinstance(entry, dict) and not any(key in entry for key in KEYS):
        return f"add {name}; or delete the dash if {next(iter(entry), 'this')} belongs to the entry above"
    return _example((*path, name))


def _example(path: Path) -> str | None:
    """Return an example of the field at ``path``. A field of a dataset may be named like a section."""
    return EXAMPLES.get(str(path[-1])) if path and (len(path) == 1 or path[-1] != "event") else None


def is_meant(name: str, path: Path, data: Any, registry: Registry) -> bool:
    """Return True if an unknown field of the mapping at ``path`` is what its missing field ``name`` was meant to be."""
    present, fields = reduce(enter, path, data), fields_at(path, data, registry)
    unknown = [key for key in present if key not in fields] if isinstance(present, dict) else []
    return any(name in on_unknown_field((*path, key), data, registry).meant for key in unknown[:MAX_FIELDS])


def on_field(path: Path, data: Any, registry: Registry) -> str | None:
    """Return an example of the field at ``path``, or what it is for."""
    if example := _example(path):
        return example.replace("add", "write", 1)
    purpose = fields_at(path[:-1], data, registry).get(str(path[-1]), "") if path else ""
    return f"{path[-1]}: {purpose.split('. ')[0].removesuffix('.')}" if purpose else None


def _missing(path: Path, data: Any, registry: Registry) -> list[str]:
    """Return the field that a mapping lacks, if it is one."""
    present = reduce(enter, path, data)
    missing = [name for name in required_at(path, data, registry) if name not in present]
    return missing if len(missing) == 1 else []


def on_step(value: Any, message: str, registry: Registry) -> tuple[str, str | None]:
    """Return a message and a suggestion for a step that has none of KEYS, or several."""
    if isinstance(value, str):
        key, _, rest = value.partition(" ")
        written = f"write {key}: {rest}" if key in KEYS else None
        return message, written or written_use(value) or _step_named(value, registry)
    if isinstance(value, list):
        return message, "delete one of the dashes"
    if not isinstance(value, dict) or not value:
        return message, "write use: namespace/name, or delete the dash"
    if several := [key for key in KEYS if key in value]:
        return f"has both {' and '.join(several)}: {message}", _on_several(several, value)
    return message, _on_keys(value, registry)


def _on_several(several: list[str], value: dict[str, Any]) -> str:
    """Suggest how to divide a mapping that has the keys of several steps."""
    if "repeat" in several:
        return "write flow: below repeat, and the repeated steps below flow, each with a dash"
    empty = next((key for key in value if value[key] is None), None)
    return f"indent what belongs to {empty} deeper than {empty}" if empty else "begin each step with a dash"


def _on_keys(value: dict[str, Any], registry: Registry) -> str:
    """Suggest what a mapping without the key of a step was meant to be."""
    if near := alike(value, KEYS):
        return did_you_mean(near)
    if "base" in value:
        return "write base as a section of its own, beside flow; or delete the dash if it is the base of a factor_out"
    if use := use_in(value):
        return use
    known = [key for key in value if key in STEP_OF]
    if unknown := [key for key in value if key not in STEP_OF]:
        if known:
            return f"write {STEP_OF[known[0]]} in the place of {unknown[0]}"
        if named := _step_named(unknown[0], registry):
            return named
    return f"does {next(iter(value))} belong to the step above? Then delete the dash"


def _step_named(name: str, registry: Registry) -> str | None:
    """Suggest the bijector of this name, in whatever namespace it is."""
    near = [] if "/" in name else near_names(registry, "bijector", name, registry.namespaces)
    return f"write use: {near[0]}" if len(near) == 1 else None


def on_mapping(path: Path, value: Any, data: Any, registry: Registry) -> str:
    """Suggest the mapping that belongs at ``path``: its shape or its name, if that is what stands there."""
    fields = fields_at(path, data, registry)
    entered = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if entered and (path not in LISTS_FOR or any(key in fields for item in entered for key in item)):
        return "delete the dashes, or write { } in the place of [ ]"
    if entries := _entries(path, value):
        return f"write {{{LISTS_FOR[path]}: {entries}}}"
    if "name" in fields and isinstance(value, str):
        return f"write {{name: {value.lower()}}}"
    required = required_at(path, data, registry)
    if isinstance(value, str) and len(required) == 1 and path not in LISTS_FOR:
        return f"write {{{required[0]}: {line(value)}}}"
    return "; ".join(filter(None, [on_field(path, data, registry), _listed(fields)]))


def _entries(path: Path, value: Any) -> str | None:
    """Return the list that belongs in a mapping whose place this value has: the value, or a list of it."""
    match LISTS_FOR.get(path), value:
        case str(), list():
            return brief(value)
        case "shape", int() if path == ("event",):
            return brief([value])
    return None


def brief(value: Any) -> str:
    """Return a value as a spec writes it, or … in its place if it is long."""
    return text if len(text := line(value)) <= MAX_TEXT else "…"


def _places_of(name: str, around: Path, data: Any, registry: Registry) -> list[Path]:
    """Return the mappings within this one, beside it and around it, and the sections, that have such a field."""
    beside = [(*holder, field) for holder in (around, around[:-1]) for field in fields_at(holder, data, registry)]
    near = dict.fromkeys([*beside, around[:-1], *SECTIONS])
    return [path for path in near if path not in ((), around) and name in fields_at(path, data, registry)]


def _listed(fields: dict[str, str]) -> str:
    names = list(fields)
    return f"fields here: {', '.join(names[:MAX_FIELDS]) or 'none'}{', …' * (len(names) > MAX_FIELDS)}"


def alike(names: Iterable[str], choices: Iterable[str]) -> list[str]:
    """Return the choices that are spelled most like one of ``names``, of which the first few are tried."""
    options = list(choices)
    found: dict[str, None] = {}
    for name in list(names)[:MAX_FIELDS]:
        found |= dict.fromkeys(difflib.get_close_matches(name[:100], options, n=2, cutoff=0.7))
    return list(found)
