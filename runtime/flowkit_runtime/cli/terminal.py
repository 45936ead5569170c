"""Prints text from untrusted sources, such as file names, safely on a terminal."""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper
from typing import IO

import typer

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that control a terminal or change the order of others, and bytes of file names that aren't valid UTF-8."""


def printable(text: str) -> str:
    r"""Return ``text`` with the characters in HIDDEN as Python escapes: ``\x1b[31m``. Lines and tabs are kept."""
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def echo(text: str, err: bool = False) -> None:
    """Print a line of text that may contain untrusted parts."""
    typer.echo(printable(text), err=err)


class OutputClosed(SystemExit):
    """Ends a command whose output nobody reads any more, as in `command | head -1`.

    For a BrokenPipeError rich and typer would end it with 1.
    """


class Stdout(TextIOWrapper):
    """Standard output. An error names it, and a character that its encoding lacks is written as an escape.

    What can't be written, as on a full disk, is dropped: Python would try again when it exits.
    """

    def __init__(self, binary: IO[bytes], encoding: str):
        super().__init__(binary, encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise OutputClosed(141) from None  # the exit code of SIGPIPE
            error.filename = "standard output"
            raise


def open_streams() -> None:
    """Make the standard streams take whatever a command prints.

    A closed stream leads to the null device. Otherwise the next file that is opened would get its number, and with it
    what libraries print. Standard output gets a file descriptor of its own. A width that no terminal has is ignored:
    rich would fill its lines with spaces, or print nothing.
    """
    width = os.environ.get("COLUMNS", "")
    if len(width) > 4 or not width.strip("0"):
        os.environ.pop("COLUMNS", None)
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    first = sys.__stdout__
    if first is not None and sys.stdout is first:  # nothing has replaced it
        sys.stdout = Stdout(os.fdopen(os.dup(first.fileno()), "wb"), first.encoding)
