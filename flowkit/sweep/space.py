"""Reads the space of a sweep: the fields of a spec that vary, and the values that they may take."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowkit.errors import Problem, SpecError
from flowkit.plugin.spelling import line
from flowkit.spec import Spec, read_spec
from flowkit.spec.document import Document, position
from flowkit.spec.overrides import TARGET
from flowkit.spec.text import parse, text_of

FORMS = "write {low: 1, high: 8}, with log: true if it is to be searched on a logarithmic scale, or {choices: [1, 2]}"

SHARES = (math.pi / 200, math.pi / 6, 1 - math.pi / 200)
"""Where fractions are tried in a span, to see whether a field takes them: near both ends and in the middle."""


@dataclass(frozen=True)
class Span:
    """The numbers from ``low`` to ``high``, both included. They are whole numbers if the field takes no others."""

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def examples(self) -> tuple[str, ...]:
        """Some values, as a spec writes them."""
        return line(self.low), line(self.high)


@dataclass(frozen=True)
class Choices:
    """A list of values, as a spec writes them."""

    examples: tuple[str, ...]


Space = dict[str, Span | Choices]
"""{the path of a field, as `--set` takes it: its values}"""


def read_space(path: str | os.PathLike[str], spec: Spec) -> Space:
    """Read a space from a YAML file, and check it against the spec whose fields vary.

    Raises SpecError with all problems, each with its place in the file. The spec must accept at least one value of each
    field, alone. A trial may still fail, because its values make the spec invalid together.
    """
    document = parse(text_of(path), os.fspath(path))
    if not isinstance(document.data, dict) or not document.data:
        suggestion = f"name at least one: train.optimizer.lr: {{low: 1.0e-4, high: 1.0e-2, log: true}}; {FORMS}"
        raise SpecError([document.problem((), "a space is a mapping of fields of a spec to values", suggestion)])
    space: Space = {}
    problems: list[Problem] = []
    for field, entry in document.data.items():
        found = [*_problems(document, field, entry), *_lost(document, field, space)]
        if not found:
            space[field] = _values(entry, field, spec)
            found = list(_misfit(document, field, space[field], spec))
        problems += found
    if problems:
        raise SpecError(sorted(problems, key=position))
    return space


def _values(entry: Mapping[str, Any], field: str, spec: Spec) -> Span | Choices:
    if "choices" in entry:
        return Choices(tuple(map(line, entry["choices"])))
    low, high = entry["low"], entry["high"]
    fractions = (low + share * (high - low) for share in SHARES)
    whole = all(_refusal(spec, field, line(number)) for number in fractions)
    return Span(low, high, entry.get("log", False), whole)


def _problems(document: Document, field: str, entry: Any) -> Iterator[Problem]:
    """Yield what is wrong with an entry, whatever the spec."""
    if not TARGET.fullmatch(field):
        message = f"{field!r} is no path of a field, such as train.optimizer.lr or flow[0].use"
        yield document.problem((field,), message, at_key=True)
        return
    if not isinstance(entry, dict) or ("choices" in entry) == ("low" in entry or "high" in entry):
        yield document.problem((field,), "must say which values the field takes", FORMS)
        return
    allowed = ("choices",) if "choices" in entry else ("low", "high", "log")
    for key in entry:
        if key not in allowed:
            yield document.problem((field, key), f"unknown field {key!r}", FORMS, at_key=True)
    yield from _choice_problems(document, field, entry) if "choices" in entry else _end_problems(document, field, entry)


def _lost(document: Document, field: str, before: Space) -> Iterator[Problem]:
    """Yield a problem for each earlier field within this one, whose value this one would replace."""
    for inner in before:
        if inner.startswith((f"{field}.", f"{field}[")):
            yield document.problem((field,), f"replaces the value of {inner}: put it above that one", at_key=True)


def _choice_problems(document: Document, field: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    choices = entry["choices"]
    if not isinstance(choices, list) or not choices:
        yield document.problem((field, "choices"), "must be a list of at least one value")
        return
    texts = [line(value) for value in choices]
    for index, text in enumerate(texts):
        if text in texts[:index]:
            yield document.problem((field, "choices", index), f"{text} stands here twice")


def _end_problems(document: Document, field: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    for end in ("low", "high"):
        if end not in entry:
            yield document.problem((field,), f"field {end!r} is missing", FORMS)
            return
        if isinstance(entry[end], bool) or not isinstance(entry[end], int | float) or entry[end] - entry[end] != 0:
            yield document.problem((field, end), f"must be a finite number, not {line(entry[end])}")
            return
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if not isinstance(log, bool):
        yield document.problem((field, "log"), f"must be true or false, not {line(log)}")
    elif log and low <= 0:
        yield document.problem((field, "low"), f"must be greater than 0 on a logarithmic scale, not {line(low)}")
    if low >= high:
        yield document.problem((field, "high"), f"must be greater than low: {line(low)}, not {line(high)}")


def _misfit(document: Document, field: str, values: Span | Choices, spec: Spec) -> Iterator[Problem]:
    """Yield a problem if the spec takes none of the values at this field, or only whole ones and an end isn't whole."""
    if isinstance(values, Span) and not values.whole:
        return  # it takes a fraction between the ends
    refusals = [_refusal(spec, field, text) for text in values.examples]
    if refusals[0] and all(refusals):
        message = f"the spec takes none of these values: {field}={values.examples[0]} {refusals[0].message}"
        yield document.problem((field,), message, refusals[0].suggestion, at_key=True)
    elif isinstance(values, Span):
        for end, number in (("low", values.low), ("high", values.high)):
            if number != int(number):
                message = f"must be a whole number, as the field takes no others, not {line(number)}"
                yield document.problem((field, end), message)


def _refusal(spec: Spec, field: str, text: str) -> Problem | None:
    """Return the first problem of the spec with this value at the field."""
    try:
        read_spec(spec.model_dump(mode="json"), [f"{field}={text}"])
    except SpecError as error:
        return error.problems[0]
    return None
