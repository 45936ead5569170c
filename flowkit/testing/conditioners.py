"""What a conditioner must do beside what every module must."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.bijectors import Conditioner
from flowkit.testing.applicable import only_where
from flowkit.testing.compare import close
from flowkit.testing.saved import initialize_saved
from flowkit.testing.subjects import ConditionerSubject

NEAR_ZERO = 0.1
"""How large θ may be at the start."""
HALF_PRECISION_TOLERANCE = 0.05
"""Relative to the largest θ: bf16 has two or three digits, and a network is several layers."""


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


CHECKS = (start, reach, context, initialize, initialize_saved, autocast)
