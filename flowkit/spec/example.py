"""Builds a valid spec that uses a plugin, as short as possible."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from itertools import product
from operator import getitem
from typing import Any, cast

from flowkit.domains import REALS, Circle, Domains, by_coordinate
from flowkit.errors import FlowkitError, SpecError
from flowkit.plugin import Found, Registry
from flowkit.plugin.description import example_fields
from flowkit.plugin.domain_field import written_domain
from flowkit.plugin.kinds import KINDS
from flowkit.spec.domains import base_support, codomain, data_domain
from flowkit.spec.model import Spec
from flowkit.spec.read import read_fields, read_spec
from flowkit.spec.walk import walk

EVENTS: tuple[dict[str, Any], ...] = (
    {"shape": [2]},
    {"shape": [4, 8, 8]},
    {"shape": [2], "levels": 256},
    {"shape": [4, 8, 8], "levels": 256},
    {"shape": [2], "domain": [0, 1]},
    {"shape": [2], "domain": {"circle": [0, 1]}},
    {"shape": [1]},
)
"""Tried in turn until one is taken."""

CONTEXTS: tuple[dict[str, Any], ...] = ({"shape": [3]}, {"classes": 3})
"""The contexts of a plugin that requires one, tried in turn."""

ENCODED: tuple[dict[str, Any], ...] = ({"shape": [3]}, {"shape": [4, 2]}, {"shape": [2, 8, 8]}, {"classes": 3})
"""The contexts of an encoder, tried in turn."""


def example_spec(found: Found, registry: Registry) -> dict[str, Any] | None:
    """Return the spec as plain data, for a dataset only its section.

    It is None if the fields that it needs can't be guessed.
    """
    contexts = ENCODED if KINDS[found.kind].of_context else (None, *CONTEXTS)
    for context, event in product(contexts, EVENTS):
        source = source_with(found, event, context, registry)
        try:
            read_spec(source, registry=registry)
        except SpecError:
            continue
        section = str(KINDS[found.kind].place[0])
        return source if KINDS[found.kind].in_flow else {section: source[section]}
    return None


def source_with(
    found: Found,
    event: dict[str, Any],
    context: dict[str, Any] | None,
    registry: Registry,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the spec as plain data, for this event and context. The fields that the plugin requires are guessed.

    ``overrides`` are those with which the spec will be read: the plugin's domain may depend on them.
    """
    use = {"use": found.name, **example_fields(found.descriptor.config)}
    given = {} if context is None else {"context": dict(context)}
    source = {"flowkit": 1, "event": event, **_sections(found.kind, use, given)}
    spec = read_fields(source, overrides, registry)
    with suppress(FlowkitError):  # a rule that fails is explained when the spec is read
        if spec is not None:
            return source | _around(spec, found.kind, source)
    return source


def _around(spec: Spec, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    """Return the sections that give the plugin its domain, and map its codomain to the support of the base."""
    steps = walk(spec)
    if kind == "base":
        support = base_support(spec.base, spec.event.shape)
        moving = {"flow": [{"use": "glow/permute"}]}  # it takes any domain
        return {} if support == REALS else {"event": _on(support, source), **moving}
    takes = data_domain(spec, steps)
    gives = codomain(steps[0], takes)
    sections: dict[str, Any] = {} if takes == REALS else {"event": _on(takes, source)}
    if any(isinstance(domain, Circle) for domain in by_coordinate(gives)):
        sections["base"] = {"use": "base/uniform", "bounds": written_domain(gives)}
    elif gives != REALS:
        sections["flow"] = [*source["flow"], {"use": "map/to_reals", "bounds": written_domain(gives)}]
    return sections


def _on(domains: Domains, source: dict[str, Any]) -> dict[str, Any]:
    """Return the source's event with this domain."""
    return {**source["event"], "domain": written_domain(domains)}


def _sections(kind: str, use: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the sections that have the plugin, and those of ``given``, the context."""
    *way, last = KINDS[kind].place
    steps: dict[str, Any] = {
        "use": _use("bijector"),
        "coupling": {"coupling": _use("transformer"), "conditioner": _use("conditioner")},
        "autoregressive": {"autoregressive": _use("transformer"), "order": _use("order")},
    }
    sections: dict[str, Any] = {**given, "flow": [steps[KINDS[kind].step]]}
    reduce(getitem, way, cast(Any, sections))[last] = use
    return sections


def _use(kind: str) -> dict[str, Any]:
    return {"use": KINDS[kind].example}
