"""What others wrote, names of files among it, made safe to print on a terminal."""

from __future__ import annotations

import re

import typer

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys or that change the order of others, and bytes of file names that are no text."""


def printable(text: str) -> str:
    """``text`` with such characters as escapes, as Python writes them: ``\\x1b[31m``. Lines and tabs stay."""
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def echo(text: str, err: bool = False) -> None:
    """Print a line of text in which what others wrote may stand."""
    typer.echo(printable(text), err=err)
