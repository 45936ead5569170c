"""Writes values on one line, as a spec spells them."""

from __future__ import annotations

import json
import re
from typing import Any

BARE = re.compile(r"(?!(null|true|false)$)(\.{0,2}/)?[^\W\d][\w./-]*", re.IGNORECASE)
"""Text that needs no quotes."""


def line(value: Any) -> str:
    """Write plain data as a spec would, numbers without trailing zeros: ``{use: glow/affine, scale: [0.25, 4]}``.

    Characters that can't be seen are escapes: some end a line, some turn what stands behind them, and
    XML has no place for some.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{line(key)}: {line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(line, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str) and BARE.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article: ``an order``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
