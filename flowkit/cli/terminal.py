"""Makes what others wrote, such as names of files, safe to print on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flowkit_runtime.cli.terminal import OutputClosed as OutputClosed
from flowkit_runtime.cli.terminal import Stdout, open_streams
from flowkit_runtime.cli.terminal import echo as echo
from flowkit_runtime.cli.terminal import printable as printable

MAX_ERROR = 4_000
"""The most characters of an error, but for those of specs, that are printed."""


def limited(text: str) -> str:
    """Return an error's text, cut if it is too long to read. A plugin may raise flowkit's errors with any text."""
    return text if len(text) <= MAX_ERROR else f"{text[:MAX_ERROR]} …"


def keep_stdout() -> None:
    """Keep standard output to what the command itself writes, for the rest of the process.

    `sys.stdout` gets a file descriptor of its own, and file descriptor 1 leads to stderr. So what libraries and plugins
    write to it, in C, in child processes or when Python exits, never mixes with a schema or a table.
    """
    open_streams()
    if isinstance(sys.stdout, Stdout):
        os.dup2(sys.stderr.fileno(), 1)


def columns(*rows: Sequence[str]) -> str:
    """Return rows of equal length as text, one line each. Without rows the text is empty.

    Lines aren't wrapped, however narrow the window is, so that they can be searched and cut.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
