"""Refuses data that no flow can be fitted to, and doubts data that may not be what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin import Rows
from flowkit.plugin.spelling import line
from flowkit.spec.model import MAX_LEVELS
from flowkit.starting.values import ValueRange

MIN_ROWS = 10
"""The fewest rows of a file that give each of the three parts at least one row."""
MAX_CONTEXT = 100.0
"""Networks learn badly from larger numbers."""
MAX_FLOAT = 1e30
MIN_SPREAD = 1e-30


def check_data(x: np.ndarray | Rows, where: str) -> None:
    """Raise DataError unless ``x`` is [n, d] or [n, channels, height, width], n > 0."""
    shape = f"{where} has shape {list(x.shape)}"
    if not x.ndim or 0 in x.shape:
        raise DataError(f"{shape}: there are no {'values in an event' if x.ndim and len(x) else 'events'}")
    if x.ndim not in (2, 4):
        advice = {1: "x[:, None] for events [1]", 3: "x[:, None] for images of one channel"}
        better = advice.get(x.ndim, "x.reshape(len(x), -1) for vectors")
        raise DataError(f"{shape}: events are [n, d] or [n, channels, height, width]: use {better}")
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and min(x.shape[1:3]) > x.shape[3]:
        raise DataError(f"{shape}, channels last, it seems: they come first: use numpy.moveaxis(x, -1, 1)")


def check_range(values: ValueRange, where: str) -> None:
    """Raise DataError unless integers fit some `levels` and anything varies."""
    if values.integers and values.lowest < 0:
        raise DataError(f"{where}: integers from {values.lowest} on: levels begin at 0: use x - x.min(), or floats")
    if values.integers and values.highest >= MAX_LEVELS:
        raise DataError(f"{where}: integers up to {values.highest}: levels end at {MAX_LEVELS - 1}: use floats")
    if values.constant.all():
        raise DataError(f"{where}: every event is the same: there is nothing to learn")
    if not values.integers:
        _check_floats(values, where)


def _check_floats(values: ValueRange, where: str) -> None:
    """Raise DataError if float32 has no room for the squares and sums that normalize channels."""
    largest = max(abs(values.lowest), abs(values.highest))
    if largest > MAX_FLOAT:
        raise DataError(f"{where}: values up to {largest:g}: float32 can't square them: use x / {largest:.0e}")
    spread = values.spread.reshape(len(values.spread), -1).max(axis=1)
    least = spread[spread > 0].min()
    if least < MIN_SPREAD:
        raise DataError(
            f"{where}: a channel varies by {least:g}: float32 can't square it: scale it up, or leave it out"
        )


def doubts_about(values: ValueRange, where: str) -> list[str]:
    """Return doubts about continuous data, whose density has no bound where values repeat."""
    if values.integers:
        return []
    if values.whole.all():
        dtype = "uint8" if values.lowest >= 0 and values.highest < 256 else "int64"
        return [f"{where}: floats, but whole numbers: if these are counts or grey levels, use x.astype('{dtype}')"]
    if values.bytes_over_255:
        return [f"{where}: multiples of 1/255, bytes it seems: use (x * 255).round().astype('uint8')"]
    counted = {
        "never change: leave them out": values.constant,
        "are whole numbers: add noise to them": values.whole & ~values.constant,
        "vary by few steps of float32: subtract their mean": values.coarse & ~values.whole & ~values.constant,
    }
    return [
        f"{where}: {entries.sum()} of {entries.size} entries {what}, or their density grows without bound"
        for what, entries in counted.items()
        if entries.any()
    ]


def check_rows(contexts: np.ndarray | Rows, n: int, where: str) -> None:
    """Raise DataError unless there is a context for each of n events, and it has values."""
    if contexts.shape[:1] != (n,):
        rows = f"{len(contexts)} rows" if contexts.ndim else "one value"
        raise DataError(f"{where} has {rows} for {n} events: give one for each event")
    if 0 in contexts.shape:
        raise DataError(f"{where} has shape {list(contexts.shape)}: there are no values in a context")


SET_ENCODER = {"use": "encoder/deep_set"}
"""The encoder of contexts of several vectors each. Nothing in the data tells a set from a sequence."""


def array_section(shape: Sequence[int]) -> dict[str, Any]:
    """Return the `context` of a spec for arrays of this shape. Sets and sequences of vectors need an encoder."""
    return {"shape": list(shape), **({"encoder": SET_ENCODER} if len(shape) == 2 else {})}


def context_section(
    contexts: np.ndarray | Rows, values: ValueRange, where: str, classes: int | None = None
) -> dict[str, Any]:
    """Return the `context` of a spec: classes for integers [n], a shape for arrays. Raises DataError for others.

    ``classes`` is the number of classes if it is known; otherwise the largest label tells.
    """
    if contexts.ndim in (2, 3, 4):
        return array_section(contexts.shape[1:])
    if contexts.ndim != 1:
        raise DataError(
            f"{where} has shape {list(contexts.shape)}: contexts are labels [n], vectors [n, d], sets and sequences of "
            "vectors [n, t, d], or images [n, channels, height, width]"
        )
    if not values.integers:
        raise DataError(f"{where} holds one float an event: labels are integers; for a number use c[:, None]")
    classes = int(values.highest) + 1 if classes is None else classes
    if values.lowest < 0 or not 1 < classes <= MAX_LEVELS:
        seen = f"{values.lowest} to {values.highest}"
        raise DataError(f"{where}: labels from {seen}: labels are 0 … k - 1, k from 2 to {MAX_LEVELS}")
    return {"classes": classes}


def doubts_about_order(section: Mapping[str, Any], where: str) -> list[str]:
    """Return a doubt about arrays that are taken for sets, for a spec's section `context`."""
    if section.get("encoder") != SET_ENCODER:
        return []
    shape = section["shape"]
    sequence = line({"shape": shape, "encoder": {"use": "encoder/gru"}})
    return [f"{where}: contexts of shape {shape} are taken for sets, without an order; for sequences write {sequence}"]


def doubts_about_context(values: ValueRange, where: str) -> list[str]:
    largest = max(abs(values.lowest), abs(values.highest))
    if values.low.ndim == 0 or largest <= MAX_CONTEXT:
        return []
    return [f"{where}: values up to {largest:g}: networks read them as they are: standardize them"]
