"""Prints text from untrusted sources, such as file names, safely on a terminal."""

from __future__ import annotations

import re

import typer

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that control a terminal or change the order of others, and bytes of file names that aren't valid UTF-8."""


def printable(text: str) -> str:
    r"""Return ``text`` with the characters in HIDDEN as Python escapes: ``\x1b[31m``. Lines and tabs are kept."""
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def echo(text: str, err: bool = False) -> None:
    """Print a line of text that may contain untrusted parts."""
    typer.echo(printable(text), err=err)
