"""Suggests how to write a value of another type as the one that a field takes. Imported only on the way to an error."""

from __future__ import annotations

import re
from typing import Any

from flowkit.errors import Path
from flowkit.plugin.spelling import did_you_mean
from flowkit.spec.advice import MAX_TEXT, alike
from flowkit.spec.advice_on_plugins import NAME
from flowkit.spec.text import FLOAT, INTEGER

NUMBERS = {"int_type", "int_from_float", "float_type"}
LISTS = {"list_type", "tuple_type"}

WORDS = dict.fromkeys(["yes", "on", "true", "y"], "true") | dict.fromkeys(["no", "off", "false", "n"], "false")
"""The words for true and false in older YAML and in other languages."""


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
    if isinstance(value, list) and len(value) == 1 and kinds & NUMBERS:
        return "remove the brackets"
    if isinstance(value, dict) and path[-1] == "flow":
        return "begin each step with a dash, and what belongs to it 2 columns further right"
    if kinds & LISTS and path[-1] == "shape" and isinstance(value, int) and not isinstance(value, bool):
        return f"write [{value}]"
    if value in (None, -1) and "shape" in path[-2:-1]:
        return "delete it: a shape is that of one event or context, without the batch"
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
    if kinds & {*LISTS, "model_type", "dict_type"} and re.fullmatch(r"\[.*\]|\{.*\}", text):
        return "remove the quotes"
    if near := alike([text], re.findall("'([^']*)'", expected)):
        return did_you_mean(near)
    is_nearly_one = kinds & NUMBERS and re.match(r"[-+]?\.?\d", text)
    return "write the number itself, without a unit: nothing in a spec is computed" if is_nearly_one else None


def _number(text: str, whole: bool) -> str | None:
    """Return the number that was meant: 1000 for 1_000 and 1 000, 0.1 for 0,1."""
    plain = re.sub(r"[\s_]", "", text).replace(",", "" if whole else ".")
    return plain if INTEGER.fullmatch(plain) or (FLOAT.fullmatch(plain) and not whole) else None
