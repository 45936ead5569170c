"""Recognizes files of other formats that are given as specs, and says which command takes them."""

from __future__ import annotations

import re
import shlex

_ZIPPED = rb"PK\x03\x04.{26}"  # a zip file up to the name of its first entry
_NEW = "write a spec for it first: flowkit new {file}"
_ARRAY = "save an array of it with numpy.save, then: flowkit new FILE.npy"
_TABLE = "save a table of it as CSV, then: flowkit new FILE.csv"
_PICTURES = "write a spec for a folder of pictures first: flowkit new FOLDER"
_WEIGHTS = "name a spec instead. The weights of a run are read by flowkit evaluate RUN, and its spec is RUN/spec.yaml"
_NAME = "name a spec instead. flowkit new DATA writes one for your data"
_BUNDLE = "name a spec instead. A bundle is read by flowkit verify BUNDLE, and its spec is BUNDLE/spec.yaml"
_PICKLE = "pickles are never loaded. Name a spec instead"

FORMATS: list[tuple[bytes, str, str]] = [
    (rb"\x93NUMPY", "an array of numpy", _NEW),
    (rb"PAR1", "a Parquet file", _NEW),
    (rb"ARROW1", "an Arrow file", _NEW),
    (rb"\x89HDF", "an HDF5 file", _ARRAY),
    (rb"SQLite format 3", "a database of SQLite", _TABLE),
    (rb"\xd0\xcf\x11\xe0", "a file of Microsoft Office", _TABLE),
    (_ZIPPED + rb"(?:\[Content_Types\]|_rels/|docProps/|xl/|mimetype)", "a file of an office program", _TABLE),
    (_ZIPPED + rb"[^\0]{0,99}\.npy", "an archive of numpy", _ARRAY),
    (_ZIPPED + rb"[^\0]{0,99}/data\.pkl|\x80[\x02-\x05]", "a pickle", _PICKLE),
    (rb"PK\x03\x04", "a zip file", "unpack it, and name a file in it"),
    (rb"\x1f\x8b|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", "unpack it, and name a file in it"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II\*\0|MM\0\*|BM.{4}\0{4}", "a picture", _PICTURES),
    (rb"%PDF", "a PDF", _NAME),
    (rb"\s*(?i:<!doctype html|<html)", "a web page", "download the file itself: on GitHub it is behind the button Raw"),
    (rb"\W{0,9}flowkit\W{1,4}1\\n", "text with \\n in the place of line ends", "replace each \\n by a line end"),
    (rb".{4}\0{4}\{", "a file of weights", _WEIGHTS),
    (rb"\x08[\x01-\x1f]", "an ONNX graph", _BUNDLE),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (rb"[^\0]{0,99}\0", "a binary file", _NAME),
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
