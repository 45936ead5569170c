"""Computes the fingerprint of a run's data: dtype, shape and hash of each array.

It shows whether and where data changed. The names of classes belong to it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from flowkit.plugin import Arrays, PartName
from flowkit.plugin.rows import Rows, chunks
from flowkit.spec.run import ArrayPrint, PartPrint
from flowkit_runtime.errors import shortened


def fingerprint(arrays: Arrays) -> PartPrint:
    """Return the fingerprint of one part of the data, after its conversion to the dtypes that training uses."""
    contexts, weights = (None if each is None else _of(each) for each in (arrays.context, arrays.weights))
    return PartPrint(events=_of(arrays.x), contexts=contexts, weights=weights, classes=list(arrays.classes))


def fingerprints(data: Mapping[PartName, Arrays]) -> dict[PartName, PartPrint]:
    """Return the fingerprint of each part."""
    return {part: fingerprint(arrays) for part, arrays in data.items()}


def changes(before: Mapping[str, PartPrint | None], now: Mapping[PartName, PartPrint]) -> list[str]:
    """Return a message for each field of a fingerprint that differs from ``before``, as in `val: events were …`."""
    return [
        f"{part}: {what} were {_said(then)}, and are {_said(here)}"
        for part, print_now in now.items()
        if (print_before := before.get(part)) is not None
        for (what, then), (_, here) in zip(print_before, print_now, strict=True)
        if then != here
    ]


def _said(value: ArrayPrint | list[str] | None) -> str:
    """Return the fingerprint of an array, or the names of classes, as text."""
    if isinstance(value, ArrayPrint):
        return shortened(f"{value.dtype} {value.shape} with SHA-256 {value.sha256[:12]}")
    return shortened(", ".join(value or ())) or "none"


def _of(array: np.ndarray | Rows) -> ArrayPrint:
    digest = hashlib.sha256()
    little_endian = array.dtype.newbyteorder("<")  # the same hash on every machine
    for _, part in chunks(array):
        digest.update(np.ascontiguousarray(part, little_endian).data)
    return ArrayPrint(dtype=array.dtype.name, shape=list(array.shape), sha256=digest.hexdigest())
