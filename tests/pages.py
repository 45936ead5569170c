"""The pages of the documentation, and what stands in them between fences."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each block of a page."""
    return BLOCK.findall((ROOT / page).read_text("utf-8"))
