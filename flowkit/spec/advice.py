"""Suggests what may have been meant. It is imported only on the way to an error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from flowkit.errors import Path, PluginError, format_path
from flowkit.plugin.registry import Registry, UnknownPlugin
from flowkit.plugin.spelling import line
from flowkit.spec.document import enter
from flowkit.spec.fields import fields_at, required_at
from flowkit.spec.model import KEYS
from flowkit.spec.text import FLOAT, INTEGER

NAME = re.compile(r"[\w-]+/[\w-]+")
SECTIONS: list[Path] = [(), ("event",), ("context",), ("train",), ("train", "optimizer")]
"""The sections to which a misplaced field often belongs."""

MAX_FIELDS = 20
"""The most fields of a mapping that are listed."""
MAX_TEXT = 100
"""The most characters of a text that advice repeats."""

NUMBERS = {"int_type", "int_from_float", "float_type"}
LISTS = {"list_type", "tuple_type"}
LISTS_FOR: dict[Path, str] = {("event",): "shape", ("context",): "shape", ("dequantization",): "flow"}
"""The field that is meant if a section is a list, and not a mapping."""
COMMON = {"name", "use"}
"""Fields that tell nothing about where they belong if they stand at the top."""

STEP_OF = {"flow": "repeat", "conditioner": "coupling", "split": "coupling", "kept": "coupling"} | {
    "order": "autoregressive",
    "base": "factor_out",
}
"""A field of a step -> the key of that step."""

OTHER_WORDS = {
    "prior": ["base"],
    "latent": ["base"],
    "layers": ["flow"],
    "transforms": ["flow"],
    "steps": ["flow", "epochs"],
    "network": ["conditioner"],
    "net": ["conditioner"],
    "learning_rate": ["lr"],
    "iterations": ["epochs"],
    "gpus": ["devices"],
    "grad_clip": ["clip_norm"],
    "gradient_clip_val": ["clip_norm"],
    "early_stopping": ["patience"],
    "weight_averaging": ["ema"],
    "hidden_features": ["hidden"],
    "width": ["hidden"],
    "units": ["hidden"],
    "depth": ["layers"],
    "tail_bound": ["bound"],
    "df": ["degrees_of_freedom"],
    "labels": ["classes", "label", "context"],
    "dim": ["shape"],
    "features": ["shape"],
    "size": ["shape", "n"],
    "range": ["domain"],
    "columns": ["event"],
    "file": ["path"],
    "folder": ["path"],
}
"""What other libraries call a field -> what it may be called here."""

WORDS = dict.fromkeys(["yes", "on", "true", "y"], "true") | dict.fromkeys(["no", "off", "false", "n"], "false")
"""The words for true and false in older YAML and in other languages."""


def on_unknown_field(path: Path, data: Any, registry: Registry) -> str:
    """Suggest a field of this name elsewhere, or the fields here, for the key that ``path`` ends in."""
    name, around = str(path[-1]), path[:-1]
    fields = fields_at(around, data, registry)
    places = list(
        dict.fromkeys(each for each in _near(around, data, registry) if name in fields_at(each, data, registry))
    )
    if emptied := [place for place in places if not around and place[-1] in data and data[place[-1]] is None]:
        return f"{name} belongs in {format_path(emptied[0])}: indent it"
    if places and (around or name not in COMMON):
        return f"{name} belongs in {' or '.join(map(format_path, places[:1] if around else places))}"
    if name in fields_at((), data, registry) and name not in data:
        return f"{name} is a section of its own: give it the indentation of flow"
    meant = _meant(name, fields) or _meant_nearby(name, around, data, registry)
    return meant or _missing(around, data, registry) or _listed(fields)


def _meant(name: str, fields: Iterable[str]) -> str | None:
    """Suggest the field that has this name in another library, or one that is spelled like it."""
    if meant := [word for word in _other_words(name) if word in fields]:
        return f"did you mean {' or '.join(meant)}?"
    return did_you_mean([name], fields)


def _meant_nearby(name: str, path: Path, data: Any, registry: Registry) -> str | None:
    """Suggest the field of a section nearby that has this name in another library."""
    found = ((word, each) for word in _other_words(name) for each in _near(path, data, registry))
    meant = ((word, each) for word, each in found if word in fields_at(each, data, registry))
    return next((f"did you mean {word}? It belongs in {format_path(each)}" for word, each in meant), None)


def _other_words(name: str) -> Sequence[str]:
    return OTHER_WORDS.get(re.sub("[- ]", "_", name).lower(), ())


def _missing(path: Path, data: Any, registry: Registry) -> str | None:
    """Suggest the one field that a mapping lacks."""
    present = reduce(enter, path, data)
    missing = [name for name in required_at(path, data, registry) if name not in present]
    return f"did you mean {missing[0]}?" if len(missing) == 1 else None


def on_step(value: Any, message: str, registry: Registry) -> tuple[str, str | None]:
    """Return a message and a suggestion for a step that has none of KEYS, or several."""
    if isinstance(value, str):
        key, _, rest = value.partition(" ")
        written = f"write {key}: {rest}" if key in KEYS else None
        return message, written or _use(value) or _step_named(value, registry)
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
    if near := did_you_mean(value, KEYS):
        return near
    for key, item in value.items():
        if name := next((each for each in (key, item) if isinstance(each, str) and NAME.fullmatch(each)), None):
            return f"write use: {name}" + (", and its fields below" if isinstance(item, dict) else "")
    known = [key for key in value if key in STEP_OF]
    if unknown := [key for key in value if key not in STEP_OF]:
        if known:
            return f"write {STEP_OF[known[0]]} in the place of {unknown[0]}"
        if named := _step_named(unknown[0], registry):
            return named
    return f"does {next(iter(value))} belong to the step above? Then delete the dash"


def _step_named(name: str, registry: Registry) -> str | None:
    """Suggest the bijector of this name, in whatever namespace it is."""
    try:
        registry.look_up("bijector", name)
    except UnknownPlugin as error:
        found = re.fullmatch(r"did you mean ([^ ]*/[^ ]*)\?", error.suggestion())
        return f"write use: {found[1]}" if found and "/" not in name else None
    except PluginError:
        pass
    return None


def on_reference(value: Any, kind: str, registry: Registry) -> str | None:
    """Suggest how to write the plugin that a value may have meant."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "delete the dash, or the brackets [ ]"
    name = value if isinstance(value, str) else ""
    try:
        return _use(registry.look_up(kind, name).name)
    except UnknownPlugin as error:
        return _use(name) or error.suggestion()
    except PluginError:
        return None


def on_use(path: Path, name: Any, registry: Registry) -> str | None:
    """Suggest the step that is meant where `use` names another step, or a transformer."""
    if not isinstance(path[-1], int):
        return None
    if name in KEYS:
        return f"write {name}: in the place of use: {name}"
    try:
        use = f"{{use: {registry.look_up('transformer', name).name}}}"
    except PluginError:
        return None
    return (
        f"write coupling: {use}, and beside it conditioner: {{use: …}}; or elementwise: {use}, or autoregressive: {use}"
    )


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
    return _listed(fields)


def _entries(path: Path, value: Any) -> str | None:
    """Return the list that belongs in a mapping whose place this value has: the value, or a list of it."""
    match LISTS_FOR.get(path), value:
        case str(), list():
            return _brief(value)
        case "shape", int() if path == ("event",):
            return _brief([value])
        case "flow", str() if NAME.fullmatch(value):
            return _brief([{"use": value}])
    return None


def _brief(value: Any) -> str:
    return text if len(text := line(value)) <= MAX_TEXT else "…"


def on_value(path: Path, value: Any, kinds: set[str], expected: str) -> str | None:
    """Suggest how to write ``value`` as what it must be: a number, a boolean, a list, text, one of some words."""
    if isinstance(value, str):
        return _on_text(path, value, kinds, expected) if len(value) <= MAX_TEXT else None
    if "string_type" in kinds and isinstance(value, int | float):
        return "put it in quotes"
    if isinstance(value, list | dict) and path[-1] == "repeat":
        return "write the number of repetitions, and flow: beside it with the steps"
    if isinstance(value, list) and kinds & NUMBERS and len(value) == 1:
        return "remove the brackets"
    if kinds & LISTS and isinstance(value, dict) and path[-1] == "flow":
        return "begin each step with a dash"
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
    if "model_type" in kinds and (found := re.fullmatch(r"(\w+)\s*[= ]\s*(\S+)", text)):
        return f"write {found[1]}: {found[2]}"
    if kinds & {*LISTS, "model_type", "dict_type"} and re.fullmatch(r"\[.*\]|\{.*\}", text):
        return "remove the quotes"
    if near := did_you_mean([text], re.findall("'([^']*)'", expected)):
        return near
    if kinds & LISTS and re.fullmatch(r"\w+", text):
        return f"write [{text}]"
    return _beside_number(text) if kinds & NUMBERS else None


def _beside_number(text: str) -> str | None:
    """Suggest what to do about a text that is nearly a number."""
    if re.search(r"\d\s*[*/^+]+\s*-?\d", text):
        return "write the number itself: nothing in a spec is computed"
    if len(found := re.findall(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", text)) == 1:
        return f"write the number without {text.replace(found[0], '').strip()!r}"
    return None


def _number(text: str, whole: bool) -> str | None:
    """Return the number that was meant: 1000 for 1_000 and 1 000, 0.1 for 0,1."""
    plain = re.sub(r"[\s_]", "", text).replace(",", "" if whole else ".")
    return plain if INTEGER.fullmatch(plain) or (FLOAT.fullmatch(plain) and not whole) else None


def _near(around: Path, data: Any, registry: Registry) -> Iterator[Path]:
    """Yield mappings within this one, beside it and around it, and the sections of a spec."""
    for holder in (around, around[:-1]):
        yield from ((*holder, field) for field in fields_at(holder, data, registry) if (*holder, field) != around)
    yield from (path for path in [around[:-1], *SECTIONS] if path)


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
