"""Says what is wrong with a text that is not YAML, by the parser's words and by the lines around the place."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from flowkit.spec import slips


class Finding(NamedTuple):
    """A 0-based line and column, what is wrong there, and what to do."""

    line: int
    column: int
    message: str
    advice: str | None = None


SAYINGS: list[tuple[str, str, str | None]] = [
    (r"found character '(.)' that", "text can't begin with {0}", "put the text in quotes"),
    (r"mapping values are not allowed", "a colon can't stand here", "put text with a colon in quotes"),
    (
        r"expected <block end>, but found '(?:-|<block sequence start>)'",
        "this entry of a list stands below a mapping",
        "begin the line above with a dash too, or indent this line",
    ),
    (r"sequence entries are not allowed", "a list can't begin here", "put the dash on a line of its own"),
    (r"expected <block end>, but found '([^-?<].*)'", "{0} closes no bracket", "delete it"),
    (r"expected the node content, but found '(.+)'", "{0} can't stand here: is it one too many?", "delete it"),
    (r"expected '<document start>'", "the text goes on after its end", "give the lines at the top no indentation"),
    (r"escape", "\\ begins an escape in double quotes", "put the text in single quotes, or write \\\\"),
]
"""The parser's words -> a message, and advice; the first group stands for {0}."""


MAX_TOP = 20_000
"""The most characters that are parsed with other indentations."""

NEVER = "the bracket that opens here is never closed"
CLOSING = {"{": "}", "[": "]"}
NO_KEY = "write key: value, with a blank after the colon, or # before a comment"


def explain(error: MarkedYAMLError, lines: list[str], text: str) -> Finding:
    """Return what is wrong, and where: a typical slip near the place that the parser names, or what it says there."""
    problem = f"{error.context or ''}, {error.problem}"
    mark, begin = error.problem_mark or error.context_mark, error.context_mark
    lines = [*lines, *[""] * (mark.line + 1 - len(lines))]  # the parser counts more line ends than text editors
    here = Finding(mark.line, mark.column, "")
    opening = Finding(begin.line, begin.column, "") if begin else here
    found = _in_brackets(problem, opening, here, lines)
    if found is None and "'\\t'" in problem:
        advice = f"replace every tab in the file by {_width(text)} blanks"
        return here._replace(message="a tab, where YAML is indented with blanks", advice=advice)
    found = found or _slip(opening, here, lines, problem) or _in_block(problem, opening, here, lines)
    return found or _said(problem, here)


def _width(text: str) -> int:
    """Return the number of blanks in the place of each tab with which the most lines at the top are YAML."""
    top = text[:MAX_TOP]
    return max((2, 4, 8, 3, 6), key=lambda width: _lines_of_yaml(top.replace("\t", " " * width)))


def _lines_of_yaml(text: str) -> float:
    """Return the number of lines that can be parsed, or infinity if all can."""
    try:
        for _ in YAML(typ="safe", pure=True).parse(text):
            pass
    except (MarkedYAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        return mark.line if mark else 0
    return math.inf


def _said(problem: str, here: Finding) -> Finding:
    """Return what the parser says, in the words of ``SAYINGS``."""
    for pattern, message, advice in SAYINGS:
        if found := re.search(pattern, problem):
            return here._replace(message=message.format(*found.groups()), advice=advice)
    return here._replace(message=f"is not YAML: {problem.lstrip(', ')}")


def _in_brackets(problem: str, opening: Finding, here: Finding, lines: list[str]) -> Finding | None:
    """Return what is wrong in a bracket or a quote."""
    if "stream end" in problem and (bracket := _last_open(lines)):
        closing = CLOSING[lines[bracket.line][bracket.column]]
        never = bracket._replace(message=NEVER, advice=f"write {closing} at its end")
        return _hidden(bracket, closing, here, lines) or never
    if "end of stream" in problem and "scalar" in problem:
        return opening._replace(message="the quote that opens here is never closed", advice="write a quote at its end")
    if "expected the node content" in problem and (bracket := _last_open(lines[: here.line])):
        return _hidden(bracket, CLOSING[lines[bracket.line][bracket.column]], here, lines)
    if found := re.search("expected ',' or '(.)'", problem):
        hidden = _hidden(opening, found[1], here, lines)
        return hidden or _slip(opening, here, lines) or _unclosed(opening, found[1], here, lines)
    return None


def _in_block(problem: str, opening: Finding, here: Finding, lines: list[str]) -> Finding | None:
    """Return what is wrong outside of brackets: a character that begins no text, or lines that don't fit together."""
    if re.search("while scanning an? (alias|anchor|tag)", problem):
        char = lines[opening.line][opening.column : opening.column + 1]
        return opening._replace(message=f"text can't begin with {char}", advice="put the text in quotes")
    if "could not find expected ':'" in problem:
        return opening._replace(message="no key and value", advice=NO_KEY)
    if "mapping values" in problem:
        return _continued(here, lines)
    if re.search("expected <block end>, but found '[-?<]", problem):
        return _indented(here, lines)
    return None


def _slip(opening: Finding, here: Finding, lines: list[str], problem: str = "") -> Finding | None:
    """Return the first slip in this line, in the one above, or in that where the mapping or list begins."""
    colon = bool(re.search("mapping values|expected ':'|sequence entries", problem))
    for number in dict.fromkeys((here.line, here.line - 1, opening.line)):
        if 0 <= number < len(lines):
            for slip in slips.find(lines[number], colon):
                return Finding(number, slip.start, slip.message, slip.advice)
    return None


def _last_open(lines: list[str]) -> Finding | None:
    """Return the innermost bracket that is open at the end of the text."""
    opened: list[Finding] = []
    for number, line in enumerate(lines):
        for found in re.finditer(r"[\[{\]}]", slips.COMMENT.sub("", slips.unquoted(line))):
            if found[0] in CLOSING:
                opened.append(Finding(number, found.start(), ""))
            elif opened:
                opened.pop()
    return opened[-1] if opened else None


def _hidden(opening: Finding, closing: str, here: Finding, lines: list[str]) -> Finding | None:
    """Return the comment that hides the end of a bracket."""
    for number in range(opening.line, min(here.line + 1, len(lines))):
        comment = slips.COMMENT.search(slips.unquoted(lines[number]))
        if comment and closing in comment[0]:
            is_value = lines[number][: comment.start()].rstrip().endswith(":")
            advice = "put text that begins with # in quotes" if is_value else "put the comment behind the bracket"
            message = f"the comment hides the end of the bracket that opens at {_place(opening)}"
            return Finding(number, comment.start(), message, advice)
    return None


def _unclosed(opening: Finding, closing: str, here: Finding, lines: list[str]) -> Finding:
    """Return what is missing in the bracket that begins at ``opening``: its end, or a comma."""
    above = max((n for n in range(min(here.line, len(lines))) if lines[n].strip()), default=opening.line)
    if here.line > opening.line == above:
        return opening._replace(message=NEVER, advice=f"write {closing} at its end")
    if here.line > opening.line:
        advice = f"write a comma at the end of line {above + 1}; or {closing}, to end the bracket of {_place(opening)}"
        return here._replace(message=f"expected a comma or {closing} here", advice=advice)
    return _without_comma(opening, closing, here, lines[here.line])


def _without_comma(opening: Finding, closing: str, here: Finding, line: str) -> Finding:
    """Return what is wrong in a bracket of one line, in which a comma or its end is expected."""
    before, behind = line[: here.column], line[here.column :]
    if (other := behind[:1]) in ("}", "]"):
        is_open = before.count({"}": "{", "]": "["}[other]) > before.count(other)
        advice = f"write {closing} {'before' if is_open else 'in the place of'} {other}"
        return here._replace(message=f"{other} can't close the bracket of {_place(opening)}", advice=advice)
    if other in ("[", "{") and re.search(r"\w\s*$", before):
        return here._replace(message=f"text can't have {other} in it", advice="put the text in quotes")
    key = re.search(r"[^\s:,{\[]\s+([\w'\"]+)$", before) if other == ":" else None
    word = key[1] if key else re.split(r"[\s:,]", behind)[0]
    if key or (word and before.endswith((" ", "\t"))):
        column = key.start(1) if key else here.column
        return Finding(here.line, column, f"a comma is missing before {word}", f"write , before {word}")
    advice = f"the bracket that it would close opens at {_place(opening)}; put text with brackets or a colon in quotes"
    return here._replace(message=f"expected a comma or {closing} here", advice=advice)


def _continued(here: Finding, lines: list[str]) -> Finding | None:
    """Return what is wrong if a line with a key continues the text of the line above."""
    above = _above(here.line, lines)
    if above is None:
        return None
    if not re.search(r":(\s|$)", lines[above]):
        return Finding(above, _indentation(lines[above]), "no key and value", NO_KEY)
    if _indentation(lines[here.line]) <= _indentation(lines[above]):
        return None
    column, own = _columns(lines[above])[-1], _indentation(lines[here.line])
    message = "this line is indented deeper than the line above, whose key has a value already"
    advice = f"begin it in column {column + 1}, like line {above + 1}"
    if lines[here.line].lstrip().startswith("- ") and "repeat:" in lines[above]:
        advice = f"write flow: in a line of its own above it, in column {column + 1}"
    return Finding(here.line, own, message, advice)


def column_below(lines: list[str], number: int) -> tuple[int, int]:
    """Return the line above line ``number``, and the column of what belongs to it. All are counted from 1."""
    above = _above(number - 1, lines) or 0
    return above + 1, _columns(lines[above])[-1] + 1


def _indented(here: Finding, lines: list[str]) -> Finding | None:
    """Return the column of a line above in which a line should begin that begins in none of them."""
    known: dict[int, tuple[int, bool]] = {}
    for number in range(here.line):
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            columns = _columns(lines[number])
            known = {column: found for column, found in known.items() if column < columns[0]}
            known |= {column: (number, column != columns[-1]) for column in columns}
    own = _columns(lines[here.line])
    fitting = [column for column, (_, dash) in known.items() if dash == (len(own) > 1)]
    if not fitting:
        return None
    column = min(fitting, key=lambda each: (abs(each - own[0]), -each))
    message = "this line is indented neither like a line above nor deeper"
    return Finding(here.line, own[0], message, f"begin it in column {column + 1}, like line {known[column][0] + 1}")


def _above(number: int, lines: list[str]) -> int | None:
    """Return the line above, without blank lines and comments."""
    return next((n for n in reversed(range(number)) if slips.COMMENT.sub("", lines[n]).strip()), None)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _columns(line: str) -> list[int]:
    """Return the columns of the dashes that a line begins with, and that of what stands behind them."""
    columns = [_indentation(line)]
    while line[columns[-1] :].startswith("- "):
        columns.append(columns[-1] + 1 + _indentation(line[columns[-1] + 1 :]))
    return columns


def _place(found: Finding) -> str:
    return f"{found.line + 1}:{found.column + 1}"
