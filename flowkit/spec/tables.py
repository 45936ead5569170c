"""Checks that the columns of a table make the events and contexts that a spec has."""

from __future__ import annotations

from collections.abc import Iterator

from flowkit.errors import Path, PluginError
from flowkit.plugin.failure import guarded
from flowkit.shapes import Shape
from flowkit.spec.model import Spec


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
    own, label = spec.context, preprocessing.label is not None
    made = _context("k" if label else None, context)  # how many classes a label has is read from the data
    had = NONE if own is None else _context("k" if label and own.classes else own.classes, own.shape)
    if made != had:
        path: Path = ("context",) if made == NONE else ("data", "label" if label else "context")
        advice = "Leave out context" if made == NONE else f"Write {made}"
        yield path, f"its columns make {made}, and the spec has {had}", f"{advice}, or choose other columns"


NONE = "no context"


def _context(classes: int | str | None, shape: Shape | None) -> str:
    """Return what a spec says of a context, which is a class, an array of this shape, or none."""
    return f"context.classes: {classes}" if classes else NONE if shape is None else f"context.shape: {list(shape)}"
