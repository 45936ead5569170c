"""Reads a spec: text, then overrides, then every field, then the shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from flowkit.errors import Path, Problem, SpecError
from flowkit.plugin.registry import Registry
from flowkit.spec.conditioning import context_problem
from flowkit.spec.directions import direction_problem, noise_problem
from flowkit.spec.document import Document, position
from flowkit.spec.domains import domain_problem
from flowkit.spec.identity import to_yaml
from flowkit.spec.model import Spec, dequantizer
from flowkit.spec.overrides import override
from flowkit.spec.tables import table_problems
from flowkit.spec.text import BREAK, read_file, read_text
from flowkit.spec.walk import BrokenChain, walk


def read_spec(
    source: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Spec:
    """Return the validated spec in ``source``.

    Args:
        source: A file's path, a spec's text, or a dict that says what a text would say. A string is text if it has more
            than one line or begins with ``{``.
        overrides: Texts such as ``train.epochs=3``, in the order in which they apply.
        registry: The plugins that `use` can name, by default everything installed.

    Raises:
        SpecError: If the spec isn't valid. It has all problems, in the order of the text, and counts those that are too
            many to show. A text that can't be parsed has only one.

    Examples:
        >>> from flowkit.spec import read_spec
        >>> spec = read_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/actnorm"}]})
        >>> spec.event.shape, len(spec.flow)
        ((2,), 1)
    """
    document = _load(source)
    problems, more = _override(document, overrides), 0
    registry = registry or Registry.discover()
    try:
        spec = Spec.model_validate(document.data, context={"registry": registry})
        problems += [document.problem(*each) for each in (*_flow_problems(spec, registry), *_size_problems(spec))]
    except ValidationError as error:
        from flowkit.spec.messages import problems_of  # only on the way to an error

        located, more = problems_of(error, document, registry)
        problems += located
    if problems:
        from flowkit.spec.slips import advised

        raise SpecError(advised(sorted(problems, key=position)), more)
    return spec


def _flow_problems(spec: Spec, registry: Registry) -> Iterator[tuple[Path, str, str | None]]:
    """Yield path, message and suggestion for what doesn't fit in the flow, and in that of the dequantization noise."""
    noise, within = dequantizer(spec), ("dequantization",)
    try:
        steps = walk(spec)
        found = context_problem(spec, steps, registry), domain_problem(spec, steps), direction_problem(spec, steps)
        yield from filter(None, found)
        yield from table_problems(spec)
        if noise is not None:
            steps = walk(noise, within)
            for path, message, advice in filter(None, (domain_problem(noise, steps, "noise"), noise_problem(steps))):
                yield (path if path[0] == within[0] else (*within, *path)), message, advice
    except BrokenChain as error:
        yield error.path, str(error), error.origin


def _size_problems(spec: Spec) -> Iterator[tuple[Path, str, None]]:
    """Yield path and message for a spec that couldn't be read from a run: its text there has the defaults filled in."""
    try:
        to_yaml(spec)
    except SpecError as error:
        yield from (((), f"with its defaults filled in, it {each.message}", None) for each in error.problems)


def read_fields(source: Mapping[str, Any], overrides: Sequence[str], registry: Registry) -> Spec | None:
    """Return a spec whose fields are valid, its shapes and domains unchecked. Return None if a field is wrong."""
    document = Document.from_python(source)
    if _override(document, overrides):
        return None
    try:
        return Spec.model_validate(document.data, context={"registry": registry})
    except ValidationError:
        return None


def _load(source: str | os.PathLike[str] | Mapping[str, Any]) -> Document:
    if isinstance(source, Mapping):
        return Document.from_python(source)
    if isinstance(source, str) and (BREAK.search(source) or source.lstrip().startswith("{")):
        return read_text(source)
    if not isinstance(source, str | os.PathLike):
        raise SpecError([Problem((), f"a spec is a file's path, a text or a dict, not a {type(source).__name__}")])
    return read_file(source)


def _override(document: Document, overrides: Sequence[str]) -> list[Problem]:
    problems: list[Problem] = []
    for text in overrides:
        try:
            override(document, text)
        except SpecError as error:
            problems += error.problems
    return problems
