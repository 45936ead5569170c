"""What a dataset must do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flowkit.plugin import Arrays, Dataset, SplitName
from flowkit.plugin.dataset import SPLITS
from flowkit.testing.perturbation import seeded
from flowkit.testing.subjects import DatasetSubject


def parts(subject: DatasetSubject) -> None:
    """train, val and test load, none empty: numbers, finite, of one shape and type; a context for each event."""
    loaded = _load(subject.make())
    kinds = set()
    for name, part in loaded.items():
        assert isinstance(part, Arrays), f"load({name!r}) gives {type(part).__name__}, not flowkit.plugin.Arrays"
        for what, array in _arrays(part):
            assert isinstance(array, np.ndarray), f"{what} of {name} is {type(array).__name__}, not a numpy array"
            assert array.dtype.kind in "iuf", f"{what} of {name} has dtype {array.dtype}: integers or floats"
            assert np.isfinite(array).all(), f"{what} of {name} has values that are not finite"
            assert len(array) == len(part.x) > 0, f"{what} of {name} has {len(array)} rows, and {len(part.x)} events"
        kinds.add(tuple((what, array.dtype, array.shape[1:]) for what, array in _arrays(part)))
    assert len(kinds) == 1, f"the parts differ in type or shape: {kinds}"
    assert loaded["train"].x.ndim in (2, 4), "x must be [n, d] or [n, channels, height, width]"


def repeatable(subject: DatasetSubject) -> None:
    """Loaded again, by another instance, it is the same, whatever the state of random number generators."""
    with seeded(1):
        first = _load(subject.make())
    np_state = np.random.get_state()
    try:
        np.random.seed(1)
        second = _load(subject.make())
    finally:
        np.random.set_state(np_state)
    for name in SPLITS:
        for (what, one), (_, other) in zip(_arrays(first[name]), _arrays(second[name]), strict=True):
            assert np.array_equal(one, other), f"{what} of {name} differs when it is loaded again: fix the division"


def disjoint(subject: DatasetSubject) -> None:
    """Validation and test events are not among the training events, except as often as data repeats itself."""
    loaded = _load(subject.make())
    rows = {name: [row.tobytes() for row in np.ascontiguousarray(part.x)] for name, part in loaded.items()}
    train = set(rows["train"])
    usual = 1 - len(train) / len(rows["train"])
    for name in ("val", "test"):
        share = sum(row in train for row in rows[name]) / len(rows[name])
        assert share <= 2 * usual + 0.05, f"{share:.0%} of the events of {name} are in train too"


def _load(dataset: Dataset) -> dict[SplitName, Arrays]:
    return {name: dataset.load(name) for name in SPLITS}


def _arrays(part: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    yield "x", part.x
    if part.context is not None:
        yield "context", part.context


CHECKS = (parts, repeatable, disjoint)
