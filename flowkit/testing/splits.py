"""What a split must do beside what every module must."""

from __future__ import annotations

import math

import torch

from flowkit.testing.subjects import SplitSubject


def round_trip(subject: SplitSubject) -> None:
    """merge(split(x)) = x and split(merge(kept, transformed)) = (kept, transformed), exactly."""
    split = subject.module()
    there, back = subject.calls(split)
    (x,) = there.inputs
    assert torch.equal(split.merge(*split.split(x)), x), "merge(split(x)) is not x"
    for name, given, part in zip(
        ("kept", "transformed"), split.split(split.merge(*back.inputs)), back.inputs, strict=True
    ):
        assert torch.equal(given, part), f"split(merge(kept, transformed)) does not give back {name}"


def partition(subject: SplitSubject) -> None:
    """Each element of the event is in one of the parts, once, unchanged; neither part is empty."""
    split = subject.module()
    size = math.prod(split.event_shape)
    x = torch.arange(size, dtype=torch.float64).reshape(1, *split.event_shape)
    parts = [part.flatten() for part in split.split(x)]
    assert all(len(part) for part in parts), "one of the parts is empty: split_shapes must raise ShapeError instead"
    both = torch.cat(parts).sort().values
    assert len(both) == size, f"the parts have {len(both)} elements together; the event has {size}"
    twice = both[1:][both.diff() == 0]
    assert not len(twice), f"elements {[int(v) for v in twice]} are in the parts twice: do the parts overlap?"
    assert torch.equal(both, x.flatten()), "the parts hold other values than the event: a split only moves elements"


CHECKS = (round_trip, partition)
