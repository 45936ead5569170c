"""Turns text into plain data and places. Any text is safe: it can't name code, share a node or nest without end.

The events of ruamel's pure-Python parser are composed here, with the scalars of YAML 1.2's core schema, not
by a constructor that knows tags. JSON is YAML, and is read by the same rules.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from flowkit.errors import Path, SpecError
from flowkit.spec.document import (
    LONE,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    TOO_LONG,
    TOO_MANY,
    Document,
    Place,
    whole,
)
from flowkit.spec.formats import recognized

MAX_KEY = 200
"""The most characters of a key."""

NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
TABS_BEFORE_JSON = re.compile(r"\A[ \t\r\n]+(?=[{\[])")
"""Within brackets tabs are white space to YAML too, but not in front of the first."""

BREAK = re.compile(r"\r\n|\r|\n")

CONSTANTS = {text: None for text in ("", "~", "null", "Null", "NULL")} | {
    text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")
}
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

TWICE = (
    "delete one of them; or begin the second with a dash, or deeper, if it belongs to an entry or a mapping of its own"
)


def read_file(path: str | os.PathLike[str]) -> Document:
    """Return the spec in a file. Raise SpecError if it can't be read or isn't a mapping."""
    return read_text(text_of(path), os.fspath(path))


def text_of(path: str | os.PathLike[str]) -> str:
    """Return the text of a file. Raise SpecError if it can't be read, is too long or isn't UTF-8."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        Place(file).fail("there is no such file")
    except IsADirectoryError:
        Place(file).fail("is a directory: name a spec file in it")
    except (OSError, ValueError) as error:
        Place(file).fail(f"can't be read: {getattr(error, 'strerror', None) or error}")
    if found := recognized(raw, file):
        what, advice = found
        Place(file).fail(f"this is {what}, not a spec", (), advice)
    if len(raw) > MAX_BYTES:
        Place(file).fail(TOO_LONG)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _Lines(raw.decode("utf-8", errors="replace"), file).behind(raw[: error.start].decode("utf-8"))
        place.fail("is not UTF-8 text: save the spec as UTF-8")


def read_text(text: str, file: str = "<spec>") -> Document:
    """Return the spec in a text. Raise SpecError if it isn't one YAML mapping."""
    document = parse(text, file)
    if () not in document.values:
        _Lines(text, file).place(0, 0).fail("is empty: a spec begins with flowkit: 1")
    if not isinstance(document.data, dict):
        from flowkit.spec.slips import explained

        raise SpecError([explained(document.problem((), "a spec is a mapping that begins with flowkit: 1"))])
    return document


def parse(text: str, file: str, start: int = 0) -> Document:
    """Return the YAML value that begins at the character ``start``. An empty text gives no values.

    Raises SpecError at the first thing that isn't allowed.
    """
    lines = _Lines(text, file)
    if len(text.encode("utf-8", errors="replace")) > MAX_BYTES:
        Place(file).fail(TOO_LONG)
    if found := NOT_TEXT.search(text):
        place = lines.behind(text[: found.start()])
        place.fail(f"the character U+{ord(found[0]):04X} can't stand in a spec: is this a text file?")
    body = TABS_BEFORE_JSON.sub(lambda found: found[0].replace("\t", " "), text[start:])
    composer = _Composer(YAML(typ="safe", pure=True).parse(" " * start + body), lines)
    try:
        return composer.document()
    except SpecError as error:
        from flowkit.spec import slips  # only on the way to an error

        raise SpecError([slips.explained(problem) for problem in error.problems]) from None
    except MarkedYAMLError as error:
        from flowkit.spec.syntax import explain

        line, column, message, advice = explain(error, lines.lines)
        lines.place(line, column).fail(message, (), advice)
    except (ValueError, OverflowError):  # the parser's answer to \UFFFFFFFF and to %YAML with endless digits
        composer.last.fail("behind this place is a number or an escape that is out of range")


class _Lines:
    """The lines of a text, for places in it."""

    def __init__(self, text: str, file: str):
        self.file = file
        self.lines = BREAK.split(text.replace("\t", " "))  # a tab is one column, so that the caret stays below its own

    def place(self, line: int, column: int) -> Place:
        """Return the place of a line and a column, which are counted from 0."""
        return Place(self.file, line + 1, column + 1, self.lines[line] if line < len(self.lines) else "")

    def behind(self, start: str) -> Place:
        """Return the place behind the beginning ``start`` of the text."""
        *above, last = BREAK.split(start)
        return self.place(len(above), len(last))


class _Composer:
    """Composes data of the parser's events, and refuses what a spec has no use for."""

    def __init__(self, events: Iterator[Event], lines: _Lines):
        self.events = events
        self.lines = lines
        self.last = lines.place(0, 0)
        self.result = Document(None, lines.file)

    def document(self) -> Document:
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, StreamEndEvent):
            return self.result
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            self.last.fail("a spec has no % directives: delete them")
        self.result.data = self._node(self._next(), ())
        self._next()  # the end of the document
        if not isinstance(self._next(), StreamEndEvent):
            self.last.fail(
                "a second document begins here: a file holds one spec",
                (),
                "delete the line of ---, or one of the documents",
            )
        return self.result

    def _next(self) -> Any:
        event = next(self.events)
        if not (isinstance(event, ScalarEvent) and event.style is None and not event.value):  # nothing has no place
            self.last = self.lines.place(event.start_mark.line, event.start_mark.column)
        return event

    def _node(self, event: Any, path: Path) -> Any:
        self._check(event, path)
        self.result.values[path] = self.last
        if len(self.result.values) > MAX_VALUES:
            self.last.fail(TOO_MANY)
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := self._next(), SequenceEndEvent):
                items.append(self._node(event, (*path, len(items))))
            return items
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            if key in items:
                first = self.result.keys[(*path, key)]
                where = f"line {first.line}" if first.line != self.last.line else f"column {first.column}"
                message = f"the key {key!r} stands here twice, first in {where}"
                self.last.fail(message, (*path, key), TWICE)
            self.result.keys[(*path, key)] = self.last
            items[key] = self._node(self._next(), (*path, key))
        return items

    def _key(self, event: Any, path: Path) -> str:
        self._check(event, path)
        key = self._scalar(event, path) if isinstance(event, ScalarEvent) else None
        if not isinstance(key, str):
            what = f", not {event.value}" if isinstance(event, ScalarEvent) and event.value else ""
            self.last.fail(f"a key must be text{what}", path)  # 1, the end of 1,000 between brackets, is a key
        if key == "<<" and event.implicit[0]:  # quoted it is text
            self.last.fail("merge keys (<<) are not allowed: write the fields out", path)
        if len(key) > MAX_KEY:
            self.last.fail(f"a key of {len(key):,} characters: the most is {MAX_KEY}", path)
        if not key.isprintable():
            code = next(ord(each) for each in key if not each.isprintable())
            self.last.fail(f"a key must be printable text, on one line, without U+{code:04X}", path)
        return key

    def _check(self, event: Any, path: Path) -> None:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self.last.fail(
                "anchors and aliases (&, *) are not allowed", path, "write the value out, or put text in quotes"
            )
        if event.ctag is not None:
            self.last.fail("tags (!) are not allowed: delete the tag", path)
        if len(path) > MAX_DEPTH:
            self.last.fail(f"is nested more than {MAX_DEPTH} levels deep")

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        text = event.value
        if event.style is not None:  # quoted or a block
            return self._text(text, path)
        if text in CONSTANTS:
            return CONSTANTS[text]
        number = INTEGER.fullmatch(text) or FLOAT.fullmatch(text) or NOT_FINITE.fullmatch(text)
        if not number:
            return text
        if len(text) > MAX_DIGITS:
            self.last.fail(f"a number of {len(text)} characters: the most is {MAX_DIGITS}", path)
        return _number(text)

    def _text(self, text: str, path: Path) -> str:
        if not LONE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")  # JSON writes 😀 as \ud83d\ude00
        except UnicodeDecodeError:
            self.last.fail("half of a surrogate pair is not text: write both halves, or the character", path)


def _number(text: str) -> int | float:
    if INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return whole(float(text.lower().replace(".inf", "inf").replace(".nan", "nan")))
