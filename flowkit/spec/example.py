"""A spec that uses a plugin, as short as it gets, and valid."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import getitem
from typing import Any, cast

from flowkit.errors import SpecError
from flowkit.plugin import Found, Registry
from flowkit.plugin.description import example_fields
from flowkit.plugin.kinds import KINDS
from flowkit.spec.model import CouplingSpec
from flowkit.spec.read import read_spec

EVENTS: tuple[dict[str, Any], ...] = (
    {"shape": [2]},
    {"shape": [4, 8, 8]},
    {"shape": [2], "levels": 256},
    {"shape": [4, 8, 8], "levels": 256},
)
"""Tried in turn until one is taken."""

CONTEXT: dict[str, Any] = {"shape": [3]}
"""The context of a plugin that requires one."""


def example_spec(found: Found, registry: Registry) -> dict[str, Any] | None:
    """The spec as plain data, for a dataset only its section; None if the fields that it needs can't be guessed."""
    for context, event in product((None, CONTEXT), EVENTS):
        source = source_with(found, event, context)
        try:
            read_spec(source, registry=registry)
        except SpecError:
            continue
        section = str(KINDS[found.kind].place[0])
        return source if KINDS[found.kind].in_flow else {section: source[section]}
    return None


def source_with(found: Found, event: dict[str, Any], context: dict[str, Any] | None = None) -> dict[str, Any]:
    """The spec as plain data, for this event and context; the fields that the plugin requires are guessed."""
    use = {"use": found.name, **example_fields(found.descriptor.config)}
    given = {"event": event} if context is None else {"event": event, "context": context}
    return {"flowkit": 1, **given, **_sections(found.kind, use)}


def _sections(kind: str, use: dict[str, Any]) -> dict[str, Any]:
    *way, last = KINDS[kind].place
    coupling = {"coupling": {"use": KINDS["transformer"].example}, "conditioner": {"use": KINDS["conditioner"].example}}
    step = coupling if last in CouplingSpec.model_fields else {"use": KINDS["bijector"].example}
    sections: dict[str, Any] = {"flow": [step]}
    reduce(getitem, way, cast(Any, sections))[last] = use
    return sections
