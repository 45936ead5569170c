"""Checks that a spec's context is read, and is there for what needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from flowkit.errors import Path, PluginError
from flowkit.plugin.config import ReadsContext, Shape
from flowkit.plugin.failure import guarded
from flowkit.plugin.found import Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.reference import Use
from flowkit.plugin.registry import Registry
from flowkit.spec.identity import uses
from flowkit.spec.model import Spec
from flowkit.spec.walk import Step

T = TypeVar("T")

WEAKEST_FIRST: tuple[ReadsContext, ...] = get_args(ReadsContext)


def context_problem(spec: Spec, steps: Sequence[Step], registry: Registry) -> tuple[Path, str, str | None] | None:
    """Return path, message and suggestion if nothing reads the context, or a step requires one that isn't there."""
    declared = set()
    for step in steps:
        try:
            reads = reads_context(step.item)
        except PluginError as error:
            return step.path, str(error), None
        if reads == "required" and spec.context is None:
            section = "add a section context: {classes: 10} for labels, {shape: [3]} for arrays"
            return step.path, f"{step.name} requires a context, and this spec has none", section
        declared.add(reads)
    if spec.context is not None and declared == {"no"}:
        message = "no step of this flow reads the context: the density would not depend on it"
        return ("context",), message, _advice(spec.event.shape, registry)
    return None


def reads_context(item: Any) -> ReadsContext:
    """Return what a step does with the context: the strongest of what the plugins in it declare.

    Raises PluginError if a declaration that depends on the fields fails.
    """
    return max(map(_declared, uses(item)), key=WEAKEST_FIRST.index, default="no")


def _declared(use: Use) -> ReadsContext:
    with guarded(f"plugin {use.plugin}: its reads_context fails"):
        declared = use.config.reads_context
        if declared not in WEAKEST_FIRST:
            raise ValueError(f"it is {declared!r}, not one of {', '.join(WEAKEST_FIRST)}")
        return declared


def _advice(event: Shape, registry: Registry) -> str:
    """Return which installed plugins could read the context of such an event."""
    installed = registry.installed()[0]
    reading = [
        each for each in installed if KINDS[each.kind].given_context and each.descriptor.config.reads_context != "no"
    ]
    splits = [_tried(each, registry, lambda config: config.split_shapes(event)) for each in installed]
    parts = next(filter(None, splits), ())
    networks = [
        each.name for each in reading if _tried(each, registry, lambda config: config.check_shapes(*parts) is None)
    ]
    bijectors = [each.name for each in reading if each.kind == "bijector"]
    could = [f"the conditioner of a coupling ({', '.join(networks)})"] * bool(networks)
    could += [f"the bijector {' or '.join(bijectors)}"] * bool(bijectors)
    if not could:
        return f"leave context out: nothing that is installed reads it for events of shape {list(event)}"
    return f"add what reads it, {' or '.join(could)}, or leave context out"


def _tried(found: Found, registry: Registry, rule: Callable[[Any], T]) -> T | None:
    """Return what a shape rule says with the fields of a plugin's example. None if it has no such rule, or refuses."""
    from flowkit.plugin.description import example_config  # only on the way to an error

    try:
        return rule(example_config(found, registry))
    except Exception:
        return None
