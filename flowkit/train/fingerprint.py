"""Computes the fingerprint of a run's data: dtype, shape and hash of each array.

It shows whether and where data changed. The names of classes belong to it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from flowkit.plugin import Arrays, PartName
from flowkit.plugin.rows import Rows, chunks
from flowkit.spec.run import ArrayPrint, PartPrint
from flowkit_runtime.errors import shortened

ARRAYS = ("events", "contexts", "weights")
"""The fields of PartPrint that are fingerprints of arrays."""


def fingerprint(arrays: Arrays) -> PartPrint:
    """Return the fingerprint of one part of the data, after its conversion to the dtypes that training uses."""
    contexts, weights = (None if each is None else _of(each) for each in (arrays.context, arrays.weights))
    return PartPrint(events=_of(arrays.x), contexts=contexts, weights=weights, classes=list(arrays.classes))


def fingerprints(data: Mapping[PartName, Arrays]) -> dict[PartName, PartPrint]:
    """Return the fingerprint of each part."""
    return {part: fingerprint(arrays) for part, arrays in data.items()}


def changes(before: Mapping[str, PartPrint | None], now: Mapping[PartName, PartPrint]) -> list[str]:
    """Return a message for each array of ``now`` that differs from ``before``.

    It says which array, and how it differs.
    """
    lines = []
    for part, print_now in now.items():
        print_before = before.get(part)
        if print_before is not None:
            lines += [f"{part}: {difference}" for difference in _differences(print_before, print_now)]
    return lines


def _of(array: np.ndarray | Rows) -> ArrayPrint:
    digest = hashlib.sha256()
    little_endian = array.dtype.newbyteorder("<")  # the same hash on every machine
    for _, part in chunks(array):
        digest.update(np.ascontiguousarray(part, little_endian).data)
    return ArrayPrint(dtype=array.dtype.name, shape=list(array.shape), sha256=digest.hexdigest())


def _differences(before: PartPrint, now: PartPrint) -> Iterator[str]:
    if before.events.shape[:1] != now.events.shape[:1]:
        yield f"{before.events.shape[0]} rows then, {now.events.shape[0]} now"
        return
    if before.classes != now.classes:
        then, here = (", ".join(names) or "without names" for names in (before.classes, now.classes))
        yield f"classes were {shortened(then)}, and are {shortened(here)}"
    for what in ARRAYS:
        then, here = getattr(before, what), getattr(now, what)
        if then is None or here is None:
            if then is not here:
                yield f"{what} {'came' if then is None else 'are gone'}"
        elif (then.dtype, then.shape) != (here.dtype, here.shape):
            yield f"{what} were {shortened(then.dtype)} {shortened(then.shape)}, and are {here.dtype} {here.shape}"
        elif then.sha256 != here.sha256:
            yield f"{what} have the same shape, {then.shape}, and other contents"
