"""Checks what a dataset must do."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName
from flowkit.plugin.dataset import MASKED, PARTS
from flowkit.plugin.rows import Rows, first_not_finite
from flowkit.testing.effects import settings_kept
from flowkit.testing.perturbation import seeded
from flowkit.testing.subjects import DatasetSubject


def parts(subject: DatasetSubject) -> None:
    """train, val and test load, none empty: numbers, finite, of one shape and type; a context for each event."""
    loaded = _load(subject.make())
    kinds = set()
    for name, part in loaded.items():
        assert isinstance(part, Arrays), f"load({name!r}) gives {type(part).__name__}, not flowkit.plugin.Arrays"
        for what, array in _arrays(part):
            kind = type(array).__name__
            assert isinstance(array, np.ndarray | Rows), f"{what} of {name} is {kind}, not a numpy array, or Rows"
            assert not isinstance(array, np.ma.MaskedArray), f"{what} of {name}: {MASKED}"
            assert array.dtype.kind in "iuf", f"{what} of {name} has dtype {array.dtype}: integers or floats"
            assert first_not_finite(array) is None, f"{what} of {name} has values that are not finite"
            assert len(array) == len(part.x) > 0, f"{what} of {name} has {len(array)} rows, and {len(part.x)} events"
        _check_what_belongs_to_events(name, part)
        kinds.add(tuple((what, array.dtype, array.shape[1:]) for what, array in _arrays(part)))
    assert len(kinds) == 1, f"the parts differ in type or shape: {kinds}"
    assert loaded["train"].x.ndim in (2, 4), "x must be [n, d] or [n, channels, height, width]"


def _check_what_belongs_to_events(name: str, part: Arrays) -> None:
    """Raise AssertionError for labels below 0, and for weights below 0 or of 0 alone."""
    if part.context is not None and part.context.ndim == 1 and part.context.dtype.kind == "i":
        least = part.context[:].min()
        assert least >= 0, f"context of {name} has the label {least}: labels count from 0"
    if part.weights is not None:
        weights = part.weights[:]
        assert (weights >= 0).all() and weights.any(), f"weights of {name} must be 0 or more, and not all 0"


def repeatable(subject: DatasetSubject) -> None:
    """Loaded again, by another instance, it is the same, whatever the state of random number generators."""
    dataset = subject.make()
    with seeded(1):
        first = {name: copy.deepcopy(part) for name, part in _load(dataset).items()}
    with seeded(2):
        others = {
            "by another instance": _load(subject.make()),
            "by the same instance, the other way round": _load(dataset, reversed(PARTS)),
        }
    for how, other in others.items():
        for name in PARTS:
            for (what, one), (_, again) in zip(_arrays(first[name]), _arrays(other[name]), strict=True):
                same = np.array_equal(one[:], again[:])
                assert same, f"{what} of {name} differs when it is loaded again {how}: {REPEATABLE}"


REPEATABLE = "fix the division by a seed, numpy.random.default_rng(0) made in load, and change copies"


def settings(subject: DatasetSubject) -> None:
    """Loading seeds no global random generator, and changes no setting of torch."""
    settings_kept("load", lambda: _load(subject.make()))


def disjoint(subject: DatasetSubject) -> None:
    """Validation and test events are not among the training events, except as often as data repeats itself.

    The same for the events of test among those of validation. Events are compared in float32, in which models are
    trained.
    """
    loaded = _load(subject.make())
    rows = {name: [row.tobytes() for row in _as_trained(part.x[:])] for name, part in loaded.items()}
    repeated = len(rows["train"]) - len(set(rows["train"]))
    usual = (repeated + 1) / len(rows["train"])
    pairs: tuple[tuple[PartName, PartName], ...] = (("val", "train"), ("test", "train"), ("test", "val"))
    for name, other in pairs:
        known = set(rows[other])
        shared = sum(row in known for row in rows[name])
        mean = 2 * usual * len(rows[name])  # a row of train was only compared with those before it
        assert shared <= mean + 3 * math.sqrt(mean), (
            f"{shared} of the {len(rows[name])} events of {name} are in {other} too; within train {repeated} of "
            f"{len(rows['train'])} are repeated"
        )


def _as_trained(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, dtype=np.float32 if x.dtype.kind == "f" else None)


def _load(dataset: Dataset, names: Iterable[PartName] = PARTS) -> dict[PartName, Arrays]:
    return {name: dataset.load(name) for name in names}


def _arrays(part: Arrays) -> list[tuple[str, np.ndarray | Rows]]:
    named = {"x": part.x, "context": part.context, "weights": part.weights}
    return [(what, array) for what, array in named.items() if array is not None]


CHECKS = (parts, repeatable, settings, disjoint)
