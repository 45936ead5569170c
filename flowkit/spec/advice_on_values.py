"""Suggests how to write a value of another type as the one that a field takes. Imported only on the way to an error."""

from __future__ import annotations

import re
from typing import Any

from flowkit.errors import Path
from flowkit.plugin.spelling import did_you_mean
from flowkit.spec.advice import MAX_TEXT, alike, brief
from flowkit.spec.advice_on_plugins import NAME, on_whole_flow
from flowkit.spec.model import KEYS
from flowkit.spec.text import FLOAT, INTEGER

NUMBERS = {"int_type", "int_from_float", "float_type"}
LISTS = {"list_type", "tuple_type"}

WORDS = dict.fromkeys(["yes", "on", "true", "y"], "true") | dict.fromkeys(["no", "off", "false", "n"], "false")
"""The words for true and false in older YAML and in other languages."""


FACTORS = {"k": 1e3, "K": 1e3, "M": 1e6, "%": 0.01}
"""What people write behind a number -> the number by which they multiply it."""


def on_value(path: Path, value: Any, kinds: set[str], expected: str) -> str | None:
    """Suggest how to write ``value`` as what it must be: a number, a boolean, a list, text, one of some words."""
    if isinstance(value, str) and "\n" in value and kinds & {*LISTS, "model_type"}:
        return f"delete the | or > behind {path[-1]}:"
    if isinstance(value, str):
        return _on_text(path, value, kinds, expected) if len(value) <= MAX_TEXT else None
    if "string_type" in kinds and isinstance(value, int | float):
        return "put it in quotes"
    if isinstance(value, list | dict) and path[-1] == "repeat":
        return "write the number of repetitions, and flow: beside it with the steps"
    if isinstance(value, list) and kinds & NUMBERS:
        return _on_list_for_number(path, value)
    if isinstance(value, dict) and kinds & LISTS:
        return _on_mapping_for_list(path, value)
    if kinds & LISTS and path[-1] == "shape" and isinstance(value, int) and not isinstance(value, bool):
        return f"write [{value}]"
    if value in (None, -1) and "shape" in path[-2:-1]:
        return "delete it: a shape is that of one event or context, without the batch"
    if isinstance(value, dict) and path[-1] in value:
        return f"write {brief(value[path[-1]])}"
    if isinstance(value, list | dict) and (chosen := _chosen(value, expected)):
        return f"write {chosen}"
    return None


def _on_list_for_number(path: Path, value: list[Any]) -> str | None:
    """Suggest the number that a list was meant to be: its one entry, or the width of all layers."""
    if len(value) == 1:
        return "remove the brackets"
    if path[-1] == "hidden" and value and value.count(value[0]) == len(value):
        return f"write hidden: {brief(value[0])}, layers: {len(value)}"
    return None


def _on_mapping_for_list(path: Path, value: dict[str, Any]) -> str | None:
    """Suggest the list that a mapping was meant to be: of steps, or of its values."""
    if path[-1] == "flow":
        return _on_steps(value)
    is_flat = value and not any(isinstance(item, list | dict) for item in value.values())
    return f"write {brief(list(value.values()))}" if is_flat else None


def _on_steps(value: dict[str, Any]) -> str:
    """Suggest how to write the steps that stand in a mapping, and not in a list."""
    if first := next((key for key in value if key in KEYS), None):
        return (
            f"write - before {first}, and begin what belongs to this step 2 columns further right, or [ ] around {{ }}"
        )
    return f"steps have no names: write a dash in the place of {', '.join(f'{key}:' for key in value)}"


def _chosen(value: list[Any] | dict[str, Any], expected: str) -> str | None:
    """Return the word among those expected that stands in a list or a mapping."""
    items = value.values() if isinstance(value, dict) else value
    return next((item for item in items if isinstance(item, str) and f"'{item}'" in expected), None)


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
    if kinds & LISTS and path[-1] == "flow":
        return f"write [{{use: {text}}}]" if NAME.fullmatch(text) else on_whole_flow(text)
    if "model_type" in kinds and re.fullmatch(r"\w+(\s*=\s*| )\S+|\w+=\S+(,?\s+\w+=\S+)+", text):
        pairs = re.findall(r"(\w+)(?:\s*=\s*| )([^\s,]+)", text)
        written = ", ".join(f"{name}: {item}" for name, item in pairs)
        return f"write {{{written}}}" if len(pairs) > 1 else f"write {written}"
    if kinds & {*LISTS, "model_type", "dict_type"} and re.fullmatch(r"\[.*\]|\{.*\}", text):
        return "remove the quotes"
    if near := alike([text], re.findall("'([^']*)'", expected)):
        return did_you_mean(near)
    if kinds & LISTS and "'" not in expected and re.fullmatch(r"[^\[\]{}:#'\"\n]+", text):
        return f"write [{', '.join(part.strip() for part in text.split(','))}]"
    return _beside_number(text) if kinds & NUMBERS else None


def _beside_number(text: str) -> str | None:
    """Suggest what to do about a text that is nearly a number."""
    if re.search(r"\d\s*[*/^+]+\s*-?\d", text):
        return "write the number itself: nothing in a spec is computed"
    if found := re.fullmatch(r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(\D+)", text):
        number, unit = found.groups()
        if unit in FACTORS:
            return f"write {float(number) * FACTORS[unit]:.15g}"
        return f"write the number without {unit!r}"
    return None


def _number(text: str, whole: bool) -> str | None:
    """Return the number that was meant: 1000 for 1_000 and 1 000, 0.1 for 0,1."""
    plain = re.sub(r"[\s_]", "", text).replace(",", "" if whole else ".")
    return plain if INTEGER.fullmatch(plain) or (FLOAT.fullmatch(plain) and not whole) else None
