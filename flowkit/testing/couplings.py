"""What the splits and conditioners of couplings must do beside what every module must."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.bijectors import Conditioner
from flowkit.testing.compare import close
from flowkit.testing.saved import initialize_saved
from flowkit.testing.subjects import ConditionerSubject, SplitSubject, only_where

NEAR_ZERO = 0.1
"""How large θ may be at the start."""
HALF_PRECISION_TOLERANCE = 0.05
"""Relative to the largest θ: bf16 has two or three digits, and a network is several layers."""


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


SPLIT_CHECKS = (round_trip, partition)


def start(subject: ConditionerSubject) -> None:
    """θ is 0, or within 0.1 of it, before training: a coupling starts near the identity."""
    conditioner = subject.fresh()
    largest = max(
        value.abs().max().item() for call in subject.calls(conditioner) for value in call(conditioner).values()
    )
    assert largest <= NEAR_ZERO, f"θ is as large as {largest:.3g} at the start: set the last layer to zero"


def reach(subject: ConditionerSubject) -> None:
    """Every parameter has a gradient that is not all zero, and θ depends on the kept part."""
    unreached = [_unreached(subject, conditioner) for conditioner in subject.modules()]
    without = [name for name in unreached[0] if all(name in each for each in unreached)]
    assert not without, f"θ does not depend on {', '.join(without)}: is something detached, or never called?"


def _unreached(subject: ConditionerSubject, conditioner: Conditioner) -> list[str]:
    """What θ has no gradient for."""
    (call,) = subject.calls(conditioner, 16)
    kept = call.inputs[0].requires_grad_()
    (theta,) = call(conditioner).values()
    wanted = {"the kept part": kept, **{n: p for n, p in conditioner.named_parameters() if p.requires_grad}}
    gradients = torch.autograd.grad(
        theta.square().sum(), list(wanted.values()), allow_unused=True, materialize_grads=True
    )
    return [name for name, gradient in zip(wanted, gradients, strict=True) if not gradient.any()]


@only_where(lambda subject: subject.context_shape is not None, "takes no context")
def context(subject: ConditionerSubject) -> None:
    """The context is read: with another one θ is another."""
    (call,) = subject.calls(subject.fresh())
    assert any(call.reads(1, conditioner) for conditioner in subject.modules()), "the context is ignored"


def initialize(subject: ConditionerSubject) -> None:
    """initialize leaves finite parameters: on a usual batch, on constant data, on a batch of one."""
    (call,) = subject.calls(subject.fresh(), 8)
    for name, batch in {
        "a batch": call,
        "constant data": call.map(lambda t: torch.full_like(t, 0.3)),
        "a batch of one": call.map(lambda t: t[:1]),
    }.items():
        conditioner = subject.fresh()
        with torch.no_grad():
            conditioner.initialize(*batch.inputs)
            finite = all(value.isfinite().all() for value in batch(conditioner).values())
        assert finite, f"θ is not finite after initialize on {name}"


def autocast(subject: ConditionerSubject) -> None:
    """Under bf16 autocast it runs, and gives θ to one or two digits."""
    conditioner = subject.module().float()
    (call,) = (call.map(Tensor.float) for call in subject.calls(conditioner))
    with torch.autocast("cpu", torch.bfloat16):
        given = call(conditioner)
    for name, value in call(conditioner).items():
        tolerance = HALF_PRECISION_TOLERANCE * (1 + value.abs().max().item())
        close(f"{name} under bf16 autocast - in fp32", given[name].float(), value, tolerance)


CONDITIONER_CHECKS = (start, reach, context, initialize, initialize_saved, autocast)
