"""A table as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def columns(*rows: Sequence[str]) -> str:
    """The rows, of equal length, one line each, whatever the window: lines can be searched and cut. No row, no text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
