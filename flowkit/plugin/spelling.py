"""Writes values as a spec spells them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

BARE = re.compile(r"(?!(null|true|false)$)(\.{0,2}/)?[^\W\d][\w./-]*", re.IGNORECASE)
"""Text that needs no quotes."""

WIDTH = 80
"""Mappings and lists that are no longer are written on one line."""


def line(value: Any) -> str:
    """Write plain data as a spec would, numbers without trailing zeros: ``{use: glow/affine, scale: [0.25, 4]}``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{line(key)}: {line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(line, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str) and BARE.fullmatch(value):
        return value
    return escaped(json.dumps(value, ensure_ascii=False))


def escaped(text: str) -> str:
    """Return text with escapes for the characters that can't be seen.

    Some of these end a line, some turn what stands behind them, and XML has no place for some.
    """
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def block(value: dict[str, Any] | list[Any]) -> Iterator[str]:
    """Yield the lines of a mapping or list that is written with a line for each entry."""
    if isinstance(value, list):
        for entry in value:
            first, *rest = block(entry) if _is_block(entry) else [line(entry)]
            yield f"- {first}"
            yield from (f"  {below}" for below in rest)
        return
    for key, entry in value.items():
        if _is_block(entry):
            yield f"{line(key)}:"
            yield from (f"  {below}" for below in block(entry))
        else:
            yield f"{line(key)}: {line(entry)}"


def _is_block(value: Any) -> bool:
    """Return True if a value takes several lines: it is too long for one, or has steps or other mappings in it."""
    if not isinstance(value, dict | list) or not value:
        return False
    holds_steps = "flow" in value if isinstance(value, dict) else any(isinstance(entry, dict) for entry in value)
    return holds_steps or len(line(value)) > WIDTH


def did_you_mean(choices: Iterable[str]) -> str:
    """Return the question whether one of these was meant."""
    return f"did you mean {' or '.join(choices)}?"


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article: ``an order``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
