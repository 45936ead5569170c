"""What the parser says of text that isn't YAML, in words for those who write specs."""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml.error import MarkedYAMLError

SAYINGS: list[tuple[str, str, str | None]] = [
    (r"<stream end>", "the text ends before its brackets are closed", None),
    (r"found character '\\t'", "a tab, where YAML is indented with blanks", None),
    (
        r"found character '(.)' that",
        "text can't begin with {0}",
        "put the text in quotes",
    ),
    (
        r"mapping values are not allowed",
        "a colon can't stand here",
        "put text with a colon in quotes; or indent this line like the one above; or is a blank missing after a colon?",
    ),
    (
        r"sequence entries are not allowed",
        "a list can't begin here",
        "put the dash on a line of its own",
    ),
    (
        r"expected <block end>, but found '[-?<]",
        "this line is indented neither like a line above nor deeper",
        "give lines of one list or mapping the same number of blanks",
    ),
    (r"expected <block end>, but found '(.+)'", "{0} closes no bracket", "is a blank missing after a colon?"),
    (
        r"expected ',' or '(.)', but got '(?:<.*>|(.+))'",
        "expected a comma or {0} here",
        "the bracket that it would close opens at {where}",
    ),
    (r"expected the node content, but found '(.+)'", "{0} can't stand here: is it one too many?", None),
    (r"expected '<document start>'", "the text goes on after its end", "give the lines at the top no indentation"),
    (r"escape", "\\ begins an escape in double quotes", "put the text in single quotes, or write \\\\"),
]
"""The parser's words -> a message, and a suggestion; what is in brackets goes where the numbers stand."""


def syntax_problem(error: MarkedYAMLError) -> tuple[Any, str, str | None]:
    """The mark to point at, the message, the suggestion."""
    problem, mark = str(error.problem), error.problem_mark or error.context_mark
    begin = error.context_mark
    if begin and re.search("end of stream|, but got '<stream end>", problem):
        kind = "quote" if "scalar" in str(error.context) else "bracket"
        return begin, f"the {kind} that opens here is never closed", None
    if begin and "could not find expected ':'" in problem:
        return begin, "no key and value", "write key: value, with a blank after the colon"
    for pattern, message, suggestion in SAYINGS:
        if found := re.search(pattern, problem):
            where = f"{begin.line + 1}:{begin.column + 1}" if begin else ""
            return mark, message.format(*found.groups()), suggestion and suggestion.replace("{where}", where)
    return mark, f"is not YAML: {', '.join(part for part in (error.context, error.problem) if part)}", None
