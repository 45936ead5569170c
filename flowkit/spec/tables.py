"""Checks that the columns of a table make the events and contexts that a spec has."""

from __future__ import annotations

from collections.abc import Iterator

from flowkit.errors import Path, PluginError
from flowkit.plugin.failure import guarded
from flowkit.spec.model import ContextSpec, Spec


def table_problems(spec: Spec) -> Iterator[tuple[Path, str, str | None]]:
    """Yield path, message and suggestion for what the columns make otherwise than the spec has it."""
    try:
        with guarded(f"plugin {spec.data and spec.data.plugin}: its preprocessing fails"):
            preprocessing = spec.preprocessing
            event, context = preprocessing.shapes if preprocessing is not None else ((), None)
    except PluginError as error:
        yield ("data",), str(error), None
        return
    if preprocessing is None:
        return
    if event != spec.event.shape:
        message = f"its columns make events of shape {list(event)}, and the event has {list(spec.event.shape)}"
        yield ("data", "event"), message, f"Write event: {{shape: {list(event)}}}, or choose other columns"
    elif spec.event.levels is not None:
        message = "a table's integers are dequantized when they are read, and the event has levels"
        yield ("event", "levels"), message, "Leave out levels, and give the columns kind: integer"
    if preprocessing.label is not None:
        if spec.context is None or spec.context.classes is None:
            message = "a label is one of several classes, and the spec's context isn't"
            yield ("data", "label"), message, "Write context: {classes: k}, with the number of classes"
    elif context is None and spec.context is not None:
        advice = "Add data.context or data.label, or leave out context"
        yield ("context",), "no columns of the data make a context", advice
    elif context is not None and (spec.context is None or spec.context.shape != context):
        yield ("data", "context"), *_context_problem(list(context), spec.context)


def _context_problem(columns: list[int], context: ContextSpec | None) -> tuple[str, str]:
    """Return message and suggestion for a context of another shape than its columns make."""
    made = f"its columns make contexts of shape {columns}, and the spec has"
    if context is None:
        return f"{made} no context", f"Write context: {{shape: {columns}}}"
    if context.shape is None:
        return f"{made} {context.classes} classes", f"Write context.shape: {columns} in the place of context.classes"
    return f"{made} {list(context.shape)}", f"Write context.shape: {columns}"
