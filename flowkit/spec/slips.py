"""Typical slips in a line of a spec: missing spaces, brackets of other languages, characters that look alike.

A correct line matches no pattern of ``SLIPS`` outside of quotes and comments. So a slip that stands where a spec is
wrong is what is wrong. It is sought only on the way to an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flowkit.errors import Problem

MAX_LINE = 300
"""The most characters of a line in which slips are sought: searching takes time, and nobody writes longer ones."""

QUOTED = re.compile(r"""(?<![\w.])(?:"(?:[^"\\]|\\.)*+("|.?$)|'(?:[^']|'')*+('|$))""")
"""A text in quotes, up to the end of the line if it isn't closed. Its group is the quote that closes it.

To look for a later quote behind one that isn't closed would take time that grows with the square of the line.
"""

COMMENT = re.compile(r"(?:^|(?<=\s))#.*")

TYPOGRAPHIC = "“”„‟«»‘’‚‛´`"
LOOKALIKES = dict.fromkeys(TYPOGRAPHIC, "'") | dict.fromkeys("‐‑‒–—−", "-")
"""Typographic characters, and those of ASCII that are meant. ``_ascii`` adds the full-width forms."""

NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
NUMBERS = rf"{NUMBER}(?:\s*,\s*{NUMBER})*"


@dataclass(frozen=True)
class Slip:
    """A slip in a line: its columns, counted from 0, what is wrong, and what to write."""

    start: int
    end: int
    message: str
    advice: str


SLIPS: list[tuple[str, str, str]] = [
    (r"^\s*(```|~~~)", "{0} marks code in Markdown", "delete the lines with {0}"),
    (
        r"^\s*(?:[*+•·‐‑‒–—−]\s*|-(?=[A-Za-z{])|\d+[.)]\s+)(?=([\w{].*))",
        'the marker of a list\'s entry is "- "',
        "write - {0}",
    ),
    (
        "[\u00a0\u00ad\u1680\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff]",
        "{code} isn't an ordinary space, or is invisible",
        "replace {code} by a space, or delete it",
    ),
    (rf"[{TYPOGRAPHIC}]([^{TYPOGRAPHIC}]*)[{TYPOGRAPHIC}]", "{match} is in typographic quotes", "write '{0}'"),
    (
        f"[{''.join(LOOKALIKES)}！-～]",
        "{match} ({code}) only looks like {ascii}",
        "write {ascii} in the place of {match}",
    ),
    (r"(?:^|(?<=\s))(//|/\*|--|;)(?=\s|$)|^\s*(%)", "a comment begins with #", "write # in the place of {0}"),
    (r"(?<=[\w\]}])#", "a comment begins with a space and #", "write a space before the #"),
    (
        r"\$?\{\{.*?\}\}|\$\{[^}]*\}?|\{%.*?%\}|\$[A-Za-z_]\w*|%\(\w+\)\w?|(?<=[ ,:\[])<[A-Za-z_]\w*>",
        "templates aren't expanded",
        "write the value in the place of {match}, or leave the field out and give it with --set",
    ),
    (
        r"(?:^|(?<=[:\[{, ]))([A-Za-z_][\w.]*)\(",
        "nothing in a spec is evaluated",
        "write the value itself in the place of {0}(…)",
    ),
    (rf"(?<=[:\[, ])[({{<]\s*({NUMBERS})\s*,?\s*[)}}>]", "a list stands in [ ]", "write [{0}] in the place of {match}"),
    (
        rf"\[\s*{NUMBER}(?:\s*[;x×]|\s)\s*{NUMBER}",
        "commas divide the entries of a list",
        "write a comma between the numbers",
    ),
    (rf"(?<=: )({NUMBER}(?:,\s+{NUMBER})+)(?=\s*(?:[,}}\]]|$))", "a list stands in [ ]", "write [{0}]"),
    (r"(?<=: )[1-9]\d{0,2}(?:,\d{3})+(?=\s*(?:[,}\]]|$))", "a number has no commas", "write the number without commas"),
    (r"(?<=: )(\d+),(\d+)(?=\s*(?:[,}\]]|$))", "a number has no commas", "write {0}.{1}"),
    (r"[(<](?=\w+: )", "a mapping stands in {{ }}", "write {{ }} in the place of these brackets"),
    (
        r"(?:(?<=\{)|(?<=, ))([A-Za-z_]\w*) ?= ?",
        "a colon stands between a field and its value",
        "write {0}: and a space in the place of {match}",
    ),
    (
        r"(?:^\s*(?:-\s+)*|(?<=[{,])\s*)([A-Za-z_]\w+):(?!//)(?=[^\s:\\])",
        "a space is missing after {0}:",
        "write a space after {0}:",
    ),
    (
        r"^\s*(?:-\s+)*\w+: +(?:[^\s{\[\"'][^{\[]*?[,\s]\s*)?([A-Za-z_]\w*): ",
        "outside of brackets each key has a line of its own",
        "begin a new line before {0}, or put text with a colon in quotes",
    ),
]
"""A pattern, what is wrong, and what to write. {0} and {1} stand for the pattern's groups."""

NO_COLON = re.compile(r"^\s*(?:-\s+)*([A-Za-z_]\w*)(?:\s*=\s*|\s+|$)([^\s:,]*|[{\[].*)$")
"""A key without its colon. In a text of several lines it is no slip, so it is sought only where a colon is missed."""


def unquoted(line: str) -> str:
    """Return the line with _ for each character in quotes that are closed."""
    return QUOTED.sub(_hidden, line)


def _hidden(found: re.Match[str]) -> str:
    quote = found[0][0]
    is_closed = quote in (found[1], found[2])
    return f"{quote}{'_' * (len(found[0]) - 2)}{quote}" if is_closed else found[0]


def find(line: str, colon: bool = False) -> Iterable[Slip]:
    """Yield the slips in a line, one of each kind. With ``colon`` a key without a colon is one of them."""
    if len(line) > MAX_LINE:
        return
    code = COMMENT.sub("", unquoted(line))
    for pattern, message, advice in SLIPS:
        if found := re.search(pattern, code):
            yield _slip(found, line, message, advice)
    if colon and (found := NO_COLON.match(code)) and not line.lstrip().startswith(("---", "...")):
        rest = line[found.start(2) : found.end(2)]
        yield Slip(
            found.start(1), found.end(), f"a colon is missing after {found[1]}", f"write {found[1]}: {rest}".rstrip()
        )


def _slip(found: re.Match[str], line: str, message: str, advice: str) -> Slip:
    groups = [line[start:end].rstrip() for start, end in map(found.span, range(1, found.re.groups + 1)) if start >= 0]
    char = found[0].strip(" ")[:1] or " "
    names = {"match": line[found.start() : found.end()], "code": f"U+{ord(char):04X}", "ascii": _ascii(char)}
    start = found.end() - len(found[0].lstrip(" "))
    return Slip(start, found.end(), message.format(*groups, **names), advice.format(*groups, **names))


def _ascii(char: str) -> str:
    """Return the character of ASCII that looks like this one: full-width forms stand in the order of ASCII."""
    return LOOKALIKES.get(char) or (chr(ord(char) - 0xFEE0) if "！" <= char <= "～" else char)


def _slip_at(problem: Problem) -> Slip | None:
    """Return the slip in the word at a problem's place, or None."""
    if not problem.source or not problem.column:
        return None
    line, column = problem.source, problem.column - 1
    word = re.match(r"[^,}\]]*", line[column:])
    end = column + max(1, len(word[0]) if word else 0)
    return next((slip for slip in find(line) if slip.start < end and column < max(slip.end, slip.start + 1)), None)


def explained(problem: Problem) -> Problem:
    """Return what the slip is that made a text mean something else, or the problem itself."""
    slip = _slip_at(problem)
    if slip is None:
        return problem
    return replace(problem, message=slip.message, suggestion=slip.advice, column=slip.start + 1)


def advised(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems with the advice on slips that cause them. One slip is advised on once."""
    advised: dict[tuple[object, ...], Problem] = {}
    for number, problem in enumerate(problems):
        slip = _slip_at(problem)
        key = (problem.file, slip.advice) if slip else (number,)
        advised.setdefault(key, replace(problem, suggestion=slip.advice) if slip else problem)
    return list(advised.values())
