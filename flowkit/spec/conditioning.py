"""Checks that the context of a spec is read, and that what needs a context has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from flowkit.errors import Path, PluginError
from flowkit.plugin.config import ReadsContext
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.registry import Registry
from flowkit.spec.identity import declared, uses
from flowkit.spec.model import ElementwiseSpec, FactorOutSpec, Spec
from flowkit.spec.walk import Step, latent_bases

WEAKEST_FIRST: tuple[ReadsContext, ...] = get_args(ReadsContext)


def context_problem(spec: Spec, steps: Sequence[Step], registry: Registry) -> tuple[Path, str, str | None] | None:
    """Return path, message and suggestion if nothing reads the context, or if something requires one and has none."""
    layers = [(step.item, step.path, step.name) for step in steps if not isinstance(step.item, FactorOutSpec)]
    bases = [(base.use, base.path, base.name) for base in latent_bases(spec, steps)]
    found = set()
    for item, path, name in [*layers, *bases]:
        try:
            reads = reads_context(item)
        except PluginError as error:
            return path, str(error), None
        if reads == "required" and spec.context is None:
            return path, f"{name} requires a context, and this spec has none", _without_context(item)
        found.add(reads)
    if spec.context is not None and found == {"no"}:
        message = "no step of this flow reads the context, nor does a base: the density would not depend on it"
        return ("context",), message, _advice(registry)
    return None


def reads_context(item: Any) -> ReadsContext:
    """Return what a step or base does with the context: the strongest of what the plugins in it declare.

    The conditioner of an elementwise step reads nothing else, so that it requires a context. Raises PluginError if a
    declaration that depends on the fields fails.
    """
    found = [declared(use, "reads_context", WEAKEST_FIRST) for use in uses(item)]
    if isinstance(item, ElementwiseSpec) and item.conditioner is not None:
        return "required"
    return max(found, key=WEAKEST_FIRST.index, default="no")


def _without_context(item: Any) -> str:
    """Return what to do about a step or base that requires a context, in a spec that has none."""
    section = "add a section context: {classes: 10} for labels, {shape: [3]} for arrays"
    if isinstance(item, ElementwiseSpec):
        return f"{section}; or leave conditioner out, and the parameters are learned"
    return section


def _advice(registry: Registry) -> str:
    """Return which installed plugins read a context, by their kinds."""
    reading: dict[str, list[str]] = {}
    for found in registry.load_all()[0]:
        if KINDS[found.kind].given_context and found.descriptor.config.reads_context != "no":
            reading.setdefault(found.kind, []).append(found.name)
    if not reading:
        return "leave context out: nothing that is installed reads it"
    listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in sorted(reading.items()))
    return f"add a plugin that reads it ({listed}), or leave context out"
