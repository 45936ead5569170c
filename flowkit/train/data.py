"""Loads a spec's dataset and checks it against the spec. The data of a run is also checked against its fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowkit.domains import REALS, Circle, Domains, by_coordinate, spelled
from flowkit.errors import DataError, RunError
from flowkit.plugin import Arrays, PartName
from flowkit.plugin.dataset import PARTS, load_parts
from flowkit.plugin.rows import Rows, chunks, first_not_finite
from flowkit.spec import ContextSpec, EventSpec, Spec
from flowkit.spec.run import SPEC, read_lock
from flowkit.train.event_weights import event_name, weighted
from flowkit.train.fingerprint import changes, fingerprints
from flowkit_runtime.errors import shortened

Values = np.ndarray | Rows

MOST_CLASSES = 4096
"""The most classes whose names and shares are kept. A marginal density takes one pass of the flow for each class."""


def load_data(spec: Spec, splits: Sequence[PartName] = PARTS) -> dict[PartName, Arrays]:
    """Load parts of the spec's dataset.

    Events with levels keep their integer dtype; other events become float32. Labels become int64 [n], and other
    contexts float32 [n, *shape]. A flow without context gets none. Weights become float64 [n] with mean 1, and events
    of weight 0 are left out. Data that must be converted is returned as ``Rows``, which convert it when it is read. All
    data is checked, one chunk at a time.

    Args:
        spec: The spec, which names its data.
        splits: The parts to load.

    Returns:
        The arrays of each part.

    Raises:
        DataError: If the spec names no data, or the data can't be read or doesn't fit the spec.
        PluginError: If the dataset plugin is broken.
    """
    if spec.data is None:
        raise DataError("the spec names no data: add a section like `data: {use: data/npy, path: x.npy}`")
    return {
        split: fitting_arrays(arrays, spec, f"{spec.data.name}, {split} part")
        for split, arrays in load_parts(spec.data, splits)
    }


def load_run_data(directory: Path, spec: Spec, splits: Sequence[PartName] = PARTS) -> dict[PartName, Arrays]:
    """Load parts of the data of a run, which must be unchanged since the run began.

    Args:
        directory: The directory of the run.
        spec: The spec of the run.
        splits: The parts to load.

    Returns:
        The arrays of each part.

    Raises:
        RunError: If the data has changed or can't be read. The message says what has changed, and what to do.
        PluginError: If the dataset plugin is broken.
    """
    advice = (
        "Put the data back; where it was moved, change `data` in the run's spec. To train on the new data, begin "
        f"another run: `flowkit train {directory / SPEC} -o DIR`"
    )
    recorded = read_lock(directory).data
    try:
        data = load_data(spec, splits)
    except DataError as error:
        raise RunError(f"{directory}: the data of this run can't be used as it is now: {error}\n{advice}") from error
    if changed := changes(recorded, fingerprints(data)):
        lines = "".join(f"\n  {line}" for line in changed)
        raise RunError(f"{directory}: the data has changed since the run began:{lines}\n{advice}")
    return data


def fitting_arrays(arrays: Arrays, spec: Spec, where: str) -> Arrays:
    """Return events and contexts as training takes them, checked and converted as ``load_data`` does.

    ``where`` is what messages call them. Raises DataError if they don't fit the spec.
    """
    if not arrays.x.ndim or len(arrays.x) == 0:
        raise DataError(f"{where}: there are no events")
    arrays = weighted(arrays, where)
    events = _events(arrays, spec.event, where)
    contexts = None if spec.context is None else _contexts(arrays, spec.context, where)
    is_labelled = spec.context is not None and spec.context.classes is not None
    return Arrays(events, contexts, weights=arrays.weights, classes=arrays.classes if is_labelled else ())


def _events(arrays: Arrays, event: EventSpec, where: str) -> Values:
    x = arrays.x
    if x.shape[1:] != event.shape:
        given, wanted = list(x.shape[1:]), list(event.shape)
        advice = f": write event: {{shape: {given}}}" if len(given) in (1, 3) else ""
        raise DataError(f"{where}: events have shape {given}; the spec's event is {wanted}{advice}")
    if event.levels is None:
        if not np.issubdtype(x.dtype, np.floating):
            raise DataError(
                f"{where}: events are {x.dtype}, up to {_range(x)[1]}; the spec's event is continuous: "
                f"set event.levels, or give floats"
            )
        return _inside(_finite(x, arrays, where), event.domains, where, arrays)
    if not np.issubdtype(x.dtype, np.integer):
        raise DataError(f"{where}: events are {x.dtype}; the spec's event has levels, which needs integers")
    low, high = _range(x)
    if low < 0 or high >= event.levels:
        advice = f"; write levels: {high + 1}" if low >= 0 else ""
        raise DataError(
            f"{where}: values range from {low} to {high}; "
            f"the spec's levels: {event.levels} allows 0 to {event.levels - 1}{advice}"
        )
    return _as(x.dtype.newbyteorder("="), x)  # torch supports only the native byte order


def _range(x: Values) -> tuple[int, int]:
    """Return the smallest and the largest value of an integer array."""
    ranges = [(part.min(), part.max()) for _, part in chunks(x)]
    return int(min(low for low, _ in ranges)), int(max(high for _, high in ranges))


def _as(dtype: np.dtype | type, x: Values) -> Values:
    """Return the array itself if it has the dtype, otherwise rows that are converted when they are read."""
    if x.dtype == dtype:
        return x
    return x.astype(dtype) if isinstance(x, Rows) else Rows(x, dtype=dtype)


def _finite(x: Values, arrays: Arrays, where: str) -> Values:
    """Return events or contexts as float32. Raises DataError for NaN and infinity."""
    found = _as(np.float32, x)
    event = first_not_finite(found)
    if event is not None:
        what = "the context of " if x is arrays.context else ""
        place = f"{what}{event_name(arrays, event)} (counted from 0)"
        raise DataError(f"{where}: {place} holds NaN or infinity in float32: leave such rows out")
    return found


def _inside(x: Values, domains: Domains, where: str, arrays: Arrays) -> Values:
    """Return the events. Raises DataError for the first that lies outside of the domain, or at an end of an interval.

    The ends are rounded as the events are. ``arrays`` knows what messages call rows and columns.
    """
    if domains == REALS:
        return x
    low, high = (
        np.array([getattr(domain, end) for domain in by_coordinate(domains)], np.float32) for end in ("low", "high")
    )
    closed = np.array([isinstance(domain, Circle) for domain in by_coordinate(domains)])
    for start, part in chunks(x):
        flat = part.reshape(len(part), -1)
        rows, coordinates = np.nonzero(np.where(closed, (flat < low) | (flat > high), (flat <= low) | (flat >= high)))
        if rows.size:
            row, coordinate = int(rows[0]), int(coordinates[0])
            event = event_name(arrays, start + row)
            column = f"in column {arrays.columns[coordinate]!r}" if arrays.columns else f"as value {coordinate}"
            given, value = arrays.x[start + row].flat[coordinate], flat[row, coordinate]
            rounded = "" if given == value else f", which is {value} in float32"
            raise DataError(
                f"{where}: {event} (counted from 0) has {given} {column}{rounded}; "
                f"event.domain allows {spelled(domains)}"
            )
    return x


def _contexts(arrays: Arrays, context: ContextSpec, where: str) -> Values:
    given, shape = arrays.context, context.shape or ()
    wanted = f"labels 0 to {context.classes - 1}" if context.classes else f"arrays of shape {list(shape)}"
    if given is None:
        raise DataError(f"{where}: there is no context; the spec's context are {wanted}. Leave out the section context")
    if given.shape != (len(arrays.x), *shape):
        advice = f": write context: {{shape: {list(given.shape[1:])}}}" if len(given) == len(arrays.x) else ""
        raise DataError(
            f"{where}: contexts have shape {list(given.shape)} for {len(arrays.x)} events; "
            f"the spec's context are {wanted}, one for each{advice}"
        )
    if context.classes is None:
        return _finite(given, arrays, where)
    if arrays.classes and len(arrays.classes) != context.classes:
        names = f"{len(arrays.classes)} classes ({shortened(', '.join(arrays.classes))})"
        raise DataError(
            f"{where}: there are {names}, and the spec's context has {context.classes}: write context: "
            f"{{classes: {len(arrays.classes)}}}"
        )
    if not np.issubdtype(given.dtype, np.integer):
        raise DataError(f"{where}: contexts are {given.dtype} numbers; the spec's context are {wanted}")
    low, high = _range(given)
    if low < 0 or high >= context.classes:
        advice = f": write context: {{classes: {high + 1}}}" if low == 0 else ""
        message = f"contexts are {given.dtype} from {low} to {high}; the spec's context are {wanted}"
        raise DataError(f"{where}: {message}{advice}")
    return _as(np.int64, given)


def class_shares(arrays: Arrays, context: ContextSpec | None) -> dict[str, float] | None:
    """Return the share of each class among the events, by its name, in the order of the labels.

    Shares are weighted if the events have weights. Classes without names have their numbers as names. Returns None if
    the context isn't a class, or has more than MOST_CLASSES.
    """
    if context is None or context.classes is None or context.classes > MOST_CLASSES or arrays.context is None:
        return None
    counts = np.bincount(arrays.context[:], arrays.weights, context.classes)
    names = arrays.classes or tuple(map(str, range(context.classes)))
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))
