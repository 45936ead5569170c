"""Says what is wrong with a text that is not YAML, by the parser's words and by the lines around the place."""

from __future__ import annotations

import re
from typing import NamedTuple

from ruamel.yaml.error import MarkedYAMLError

from flowkit.spec import slips


class Finding(NamedTuple):
    """A 0-based line and column, what is wrong there, and what to do."""

    line: int
    column: int
    message: str
    advice: str | None = None


SAYINGS: list[tuple[str, str, str]] = [
    (r"'\\t'", "a tab, but YAML is indented with spaces", "replace every tab in the file by spaces"),
    (r"found character '(.)' that", "text can't begin with {0}", "put the text in quotes"),
    (r"scanning an? (?:alias|anchor|tag)", "text can't begin with *, & or !", "put the text in quotes"),
    (r"end of stream", "the quote that opens here is never closed", "write a quote at its end"),
    (
        r"could not find expected ':'",
        "no key and value",
        "write key: value, with a space after the colon, or # before a comment",
    ),
    (
        r"mapping values are not allowed",
        "a colon can't stand here",
        "give the line above a colon, begin this line in the same column, or put text with a colon in quotes",
    ),
    (
        r"block mapping, expected <block end>, but found '-'",
        "this entry of a list stands below a mapping",
        "begin the line above with a dash too, or indent this line",
    ),
    (r"sequence entries are not allowed", "a list can't begin here", "put the dash on a line of its own"),
    (
        r"expected <block end>, but found '[-?<]",
        "this line is indented neither like the lines above nor deeper",
        "begin it in the column of the line that it belongs to",
    ),
    (r"expected <block end>, but found '(.*)'", "{0} closes no bracket", "delete it"),
    (r"expected the node content, but found '(.+)'", "{0} can't stand here: is it one too many?", "delete it"),
    (
        r"expected ',' or '(.)'",
        "expected a comma or {0} here",
        "the bracket that it would close opens at {place}; put text with brackets or a colon in quotes",
    ),
    (r"expected '<document start>'", "the text goes on after its end", "give the lines at the top no indentation"),
    (r"escape", "\\ begins an escape in double quotes", "put the text in single quotes, or write \\\\"),
]
"""The parser's words -> a message, and advice; {0} stands for the first group, {place} for where a bracket opens."""

CLOSING = {"{": "}", "[": "]"}


def explain(error: MarkedYAMLError, lines: list[str]) -> Finding:
    """Return what is wrong, and where: a typical slip near the place that the parser names, or what it says there."""
    problem = f"{error.context or ''}, {error.problem}"
    mark = error.problem_mark or error.context_mark
    begin = error.context_mark or mark
    if "stream end" in problem and (bracket := _last_open(lines)):
        return bracket
    if not re.search(r"'\\t'|end of stream", problem) and (slip := _slip((mark.line, begin.line), lines, problem)):
        return slip
    at = begin if "scanning a" in problem and "escape" not in problem else mark
    for pattern, message, advice in SAYINGS:
        if found := re.search(pattern, problem):
            place = f"{begin.line + 1}:{begin.column + 1}"
            return Finding(at.line, at.column, message.format(*found.groups()), advice.format(place=place))
    return Finding(at.line, at.column, f"is not YAML: {problem.lstrip(', ')}")


def _slip(places: tuple[int, int], lines: list[str], problem: str) -> Finding | None:
    """Return the first slip in the line of the error, in the one above, or in that where the mapping or list begins."""
    here, opening = places
    colon = bool(re.search("mapping values|expected ':'|sequence entries", problem))
    for number in dict.fromkeys((here, here - 1, opening)):
        if 0 <= number < len(lines):
            for slip in slips.find(lines[number], colon):
                return Finding(number, slip.start, slip.message, slip.advice)
    return None


def _last_open(lines: list[str]) -> Finding | None:
    """Return the innermost bracket that is open at the end of the text."""
    opened: list[Finding] = []
    for number, line in enumerate(lines):
        for found in re.finditer(r"[\[{\]}]", slips.COMMENT.sub("", slips.unquoted(line))):
            if closing := CLOSING.get(found[0]):
                message = "the bracket that opens here is never closed"
                opened.append(Finding(number, found.start(), message, f"write {closing} at its end"))
            elif opened:
                opened.pop()
    return opened[-1] if opened else None
