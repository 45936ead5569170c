"""Checks what the splits and conditioners of couplings must do beside what every module must."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.testing.common import context, initialized
from flowkit.testing.compare import all_near, gradients_of, largest
from flowkit.testing.effects import initialize_saved
from flowkit.testing.subjects import ConditionerSubject, ModuleSubject, SplitSubject

NEAR_ZERO = 0.1
"""The largest θ at the start."""
HALF_PRECISION_TOLERANCE = 0.05
"""Relative to the largest θ: bf16 has two or three digits, and a network is several layers."""


def round_trip(subject: SplitSubject) -> None:
    """merge(split(x)) = x and split(merge(kept, transformed)) = (kept, transformed), exactly."""
    split = subject.module()
    there, back = subject.calls(split)
    (x,) = there.inputs
    assert torch.equal(split.merge(*split.split(x)), x), "merge(split(x)) is not x"
    again = split.split(split.merge(*back.inputs))
    for name, given, part in zip(("kept", "transformed"), again, back.inputs, strict=True):
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


SPLIT_CHECKS = (round_trip, partition)


def start(subject: ConditionerSubject) -> None:
    """θ is 0, or within 0.1 of it, before training: a coupling starts near the identity."""
    conditioner = subject.fresh()
    (call,) = subject.calls(conditioner)
    (theta,) = call(conditioner).values()
    assert largest(theta) <= NEAR_ZERO, (
        f"θ is as large as {largest(theta):.3g} at the start: set the last layer to zero"
    )


def reach(subject: ConditionerSubject) -> None:
    """Every parameter has a gradient that is not all zero, and θ depends on the kept part."""
    depends(subject, "θ", "the kept part")


def depends(subject: ModuleSubject, output: str, first: str | None = None) -> None:
    """Raise AssertionError unless a network's output depends on every parameter, and on its first input.

    ``output`` and ``first`` are what the message calls them. The first input is left out if it is None.
    """
    reached: set[str] = set()
    without: list[str] = []
    for network in subject.draws():
        (call,) = subject.calls(network, 16)
        wanted = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if first is not None:
            wanted[first] = call.inputs[0].requires_grad_()
        (value,) = call(network).values()
        gradients = gradients_of(value.square().sum(), wanted)
        reached |= {name for name, gradient in gradients.items() if gradient.any()}
        if not (without := sorted(wanted.keys() - reached)):
            return
    raise AssertionError(f"{output} does not depend on {', '.join(without)}: is something detached, or never called?")


def initialize(subject: ModuleSubject) -> None:
    """initialize leaves finite parameters: on a usual batch, on constant data, on a batch of one."""
    for _ in initialized(subject):
        pass  # raises


def autocast(subject: ModuleSubject) -> None:
    """The network runs under bf16 autocast, and its output is that in fp32, to one or two digits."""
    network = subject.module().float()
    (call,) = (call.map(Tensor.float) for call in subject.calls(network))
    with torch.autocast("cpu", torch.bfloat16):
        given = call(network)
    all_near("under bf16 autocast - in fp32", given, call(network), HALF_PRECISION_TOLERANCE)


CONDITIONER_CHECKS = (start, reach, context, initialize, initialize_saved, autocast)
