"""Typical slips in a line of a spec: missing blanks, brackets of other languages, characters that look alike.

A correct line matches no pattern of ``SLIPS`` outside of quotes and comments. So a slip that stands where a spec is
wrong is what is wrong. It is sought only on the way to an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from flowkit.errors import Problem
from flowkit.spec import python

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

NBSP = "\u00a0"

NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
NUMBERS = rf"{NUMBER}(?:(?:\s*[,;x×]\s*|\s+){NUMBER})*"
CALLED = r"\([^()]*\)"
for _ in range(3):
    CALLED = rf"\((?:[^()]|{CALLED})*\)"
"""Parentheses, with up to three levels of them inside."""


@dataclass(frozen=True)
class Slip:
    """A slip in a line: its columns, counted from 0, what is wrong, and what to write."""

    start: int
    end: int
    message: str
    advice: str


def _listed(text: str) -> str:
    return f"write [{', '.join(re.findall(NUMBER, text))}] in the place of {text}"


def _evaluated(text: str) -> str:
    written = python.as_spec(text)
    return f"write {written} in the place of {text}" if written else f"write the value itself in the place of {text}"


SLIPS: list[tuple[str, str, str | Callable[[str], str]]] = [
    (r"^\s*(```|~~~)", "{0} marks code in Markdown", "delete the lines with {0}"),
    (
        r"^(?:<{7}|={7}|>{7})(?:\s|$)",
        "git marks a conflict here",
        "keep one of the two versions, and delete the lines that begin with <<<<<<<, ======= and >>>>>>>",
    ),
    (
        r"^\s*(?:import [\w.]+|from [\w.]+ import\b|(?:async )?def \w+\(|class \w+[^:]*:\s*$)",
        "this is Python code, and a spec is YAML",
        "run the code with python, or name a spec. flowkit new DATA writes one for your data",
    ),
    (r"^@@ |^(?:\+\+\+|---) \S", "this is a patch, not the file", "apply it, or delete the lines of ---, +++ and @@"),
    (r"^>+ ?", "a mail has put > in front of the line", "remove the > from every line, and the blank behind it"),
    (r"^\+", "a patch has put + in front of the line", "remove the + from every line"),
    (
        r"^\s*\d+[:|]?\s+(?=[\w-]+:|- )",
        "the number of the line is no part of a spec",
        "remove it from every line, with the blanks in front of it",
    ),
    (
        r"^\s*(?:[*+•·‐‑‒–—−]\s*|-(?=[A-Za-z{])|\d+[.)]\s+)(?=([\w{].*))",
        'the marker of a list\'s entry is "- "',
        "write - {0}",
    ),
    ("[\u00a0\u202f]", "{code} is a no-break space", "replace every no-break space by a blank"),
    ("[\u1680\u2000-\u200a\u205f\u3000]", "{code} is a blank of another width", "replace it by a blank"),
    ("[\u00ad\u200b-\u200f\u2060\ufeff]", "{code} is an invisible character", "delete the invisible {code}"),
    (rf"[{TYPOGRAPHIC}]([^{TYPOGRAPHIC}]*)[{TYPOGRAPHIC}]", "{match} is in typographic quotes", "write '{0}'"),
    (
        f"[{''.join(LOOKALIKES)}！-～]",
        "{match} ({code}) only looks like {ascii}",
        "write {ascii} in the place of {match}",
    ),
    (r"(?:^|(?<=\s))(//|/\*|--|;)(?=\s|$)|^\s*(%)", "a comment begins with #", "write # in the place of {0}"),
    (r"(?<=[\w\]}])#", "a comment begins with a blank and #", "write a blank before the #"),
    (
        r"\$?\{\{.*?\}\}|\$\{[^}]*\}?|\{%.*?%\}|\$[A-Za-z_]\w*|%\(\w+\)\w?|(?<=[ ,:\[])<[A-Za-z_]\w*>",
        "templates aren't expanded",
        "write the value in the place of {match}, or leave the field out and give it with --set",
    ),
    (
        rf"(?:^|(?<=[:\[{{, ]))[A-Za-z_][\w.]*{CALLED}(?:,\s*[A-Za-z_][\w.]*{CALLED})*",
        "nothing in a spec is evaluated",
        _evaluated,
    ),
    (rf"(?<=[:\[, ])[({{<]\s*{NUMBERS}\s*,?\s*[)}}>]", "a list stands in [ ]", _listed),
    (rf"\[\s*{NUMBER}(?:\s*[;x×]\s*|\s+){NUMBERS}\s*\]", "commas divide the entries of a list", _listed),
    (rf"(?<=: ){NUMBER}(?:,\s+{NUMBER})+(?=\s*(?:[,}}\]]|$))", "a list stands in [ ]", _listed),
    (
        r"(?<=: )[1-9]\d{0,2}(?:,\d{3})+(?=\s*(?:[,}\]]|$))",
        "a number has no commas",
        lambda text: f"write {text.replace(',', '')}",
    ),
    (r"(?<=: )(\d+),(\d+)(?=\s*(?:[,}\]]|$))", "a number has no commas", "write {0}.{1}"),
    (r"[(<](?=\w+: )", "a mapping stands in {{ }}", "write {{ }} in the place of these brackets"),
    (
        r"&(?:quot|apos|amp|lt|gt|nbsp|#\d+);",
        "{match} is HTML",
        lambda text: f"write {html.unescape(text).replace(NBSP, 'a blank')} in the place of {text}",
    ),
    (
        r"(?:(?<=\{)|(?<=, ))([A-Za-z_]\w*) ?= ?",
        "a colon stands between a field and its value",
        "write {0}: and a blank in the place of {match}",
    ),
    (
        r";(?=\s*(?:\w+:|[\]}]|$))",
        "a ; divides nothing",
        "write a comma between entries in brackets, and nothing at the end of a line",
    ),
    (
        r"(?:^\s*(?:-\s+)*|(?<=[{,])\s*)([A-Za-z_]\w+):(?!//)(?=[^\s:\\])",
        "a blank is missing after {0}:",
        "write a blank after {0}:",
    ),
    (
        r"^\s*(?:-\s+)*([A-Za-z_]\w*): +(\w+: .*)",
        "two colons in one line",
        "write {0}: {{{1}}}, or put text with a colon in quotes",
    ),
    (
        r"^\s*(?:-\s+)*\w+: +[^\s{\[\"'][^{\[]*?[,\s]\s*(\w+): ",
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


def _slip(found: re.Match[str], line: str, message: str, advice: str | Callable[[str], str]) -> Slip:
    groups = [line[start:end].rstrip() for start, end in map(found.span, range(1, found.re.groups + 1)) if start >= 0]
    char = found[0].strip(" ")[:1] or " "
    written = line[found.start() : found.end()]
    names = {"match": written, "code": f"U+{ord(char):04X}", "ascii": _ascii(char)}
    said = advice(written) if callable(advice) else advice.format(*groups, **names)
    start = found.end() - len(found[0].lstrip(" "))
    return Slip(start, found.end(), message.format(*groups, **names), said)


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
