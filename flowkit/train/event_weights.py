"""Checks the weights of events, and scales them to a mean of 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin import Arrays


def weighted(arrays: Arrays, where: str) -> Arrays:
    """Return the events that have a positive weight. Their weights are float64 [n], with mean 1.

    So the mean over a batch of weight times loss is an unbiased estimate of the weighted mean of all losses. Without
    weights, the arrays are returned as they are. ``where`` names them in messages. Raises DataError for weights that
    aren't finite numbers of at least 0, and if all are 0.
    """
    if arrays.weights is None:
        return arrays
    weights = _checked(arrays, where)
    kept = weights > 0
    if not kept.any():
        raise DataError(f"{where}: all {len(weights)} weights are 0: at least one event must count")
    if not kept.all():
        arrays = arrays.take(np.flatnonzero(kept))
        weights = weights[kept]
    weights = weights / weights.max()  # the sum of huge weights would overflow
    return replace(arrays, weights=weights / weights.mean())


def event_name(arrays: Arrays, event: int) -> str:
    """Return the name of an event in messages, which has its row in a table if that is known."""
    return f"event {event}" if arrays.rows is None else f"row {arrays.rows[event]}"


def _checked(arrays: Arrays, where: str) -> np.ndarray:
    weights = np.asarray(arrays.weights)
    if weights.shape != (len(arrays.x),):
        raise DataError(f"{where}: weights have shape {list(weights.shape)} for {len(arrays.x)} events: give each one")
    if weights.dtype.kind not in "biuf":
        raise DataError(f"{where}: weights are {weights.dtype}, not numbers")
    weights = weights.astype(np.float64)
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all():
        event = int(good.argmin())
        place = f"{event_name(arrays, event)} (counted from 0)"
        raise DataError(f"{where}: {place} has the weight {weights[event]:g}; weights are finite, and 0 or more")
    return weights
