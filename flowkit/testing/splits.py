"""What a split must do beside what every module must."""

from __future__ import annotations

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
    x = subject.normal(1, *split.event_shape)
    parts = [part.flatten() for part in split.split(x)]
    assert all(len(part) for part in parts), "one of the parts is empty: split_shapes must raise ShapeError instead"
    both, event = torch.cat(parts).sort().values, x.flatten().sort().values
    assert torch.isin(both, event).all(), "the parts hold other values than the event: a split only moves elements"
    twice = int((both.diff() == 0).sum())
    assert not twice, f"{twice} elements are in the parts twice: do the parts overlap?"
    assert len(both) == len(event), f"{len(event) - len(both)} elements of the event are in neither part"


CHECKS = (round_trip, partition)
