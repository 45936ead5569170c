"""Recognizes files of other formats that are given as specs, and says which command takes them."""

from __future__ import annotations

import re
import shlex

_NEW = "write a spec for it first: flowkit new {file}"
_UNPACK = "unpack it, and name a file in it; or save a table as CSV, and then: flowkit new FILE.csv"
_WEIGHTS = "name a spec instead. The weights of a run are read by flowkit evaluate RUN, and its spec is RUN/spec.yaml"
_BUNDLE = "name a spec instead. A bundle is read by flowkit verify BUNDLE, and its spec is BUNDLE/spec.yaml"

FORMATS: list[tuple[bytes, str, str]] = [
    (rb"\x93NUMPY|PAR1|ARROW1", "a file of data", _NEW),
    (
        rb"PK\x03\x04.{26}[^\0]{0,99}/data\.pkl|\x80[\x02-\x05]",
        "a pickle",
        "pickles are never loaded. Name a spec instead",
    ),
    (rb"PK\x03\x04|\x1f\x8b|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", _UNPACK),
    (rb"\s*(?i:<!doctype html|<html)", "a web page", "download the file itself: on GitHub it is behind the button Raw"),
    (rb".{4}\0{4}\{", "a file of weights", _WEIGHTS),
    (rb"\x08[\x01-\x1f]", "an ONNX graph", _BUNDLE),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (rb"[^\0]{0,99}\0", "a binary file", "name a spec instead. flowkit new DATA writes one for your data"),
]
"""What a file begins with, as a pattern; what it is; and what to do with it. {file} stands for its name."""


def recognized(raw: bytes, file: str) -> tuple[str, str] | None:
    """Return what a file is, and what to do with it, if it is no text that a spec could be."""
    if file.lower().endswith(".csv"):
        return "a table", _NEW.format(file=shlex.quote(file))
    for pattern, what, advice in FORMATS:
        if re.match(pattern, raw, re.DOTALL):
            return what, advice.format(file=shlex.quote(file))
    return None
