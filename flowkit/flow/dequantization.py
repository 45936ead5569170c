"""Makes integers continuous: an integer k becomes the point k + u, with noise u in [0, 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from flowkit.domains import Domains, Interval
from flowkit.errors import InputError, ShapeError
from flowkit.shapes import Shape
from flowkit.spec.model import ContextSpec


def check_dequantizer(
    noise_shape: Shape, context: ContextSpec | None, domains: Domains | None, event_shape: Shape, levels: int | None
) -> None:
    """Check that a dequantizer, of these events and context, is a flow of the noise, given the integers.

    ``domains`` is None if they aren't known, as of a flow that was built in Python. Raises InputError if the data is
    continuous, the context isn't the event, or the domain isn't [0, 1], and ShapeError if the noise has another
    shape than the event.
    """
    if levels is None:
        raise InputError("continuous data isn't dequantized: leave dequantizer out, or give levels")
    if noise_shape != event_shape:
        given, wanted = list(noise_shape), list(event_shape)
        raise ShapeError(f"the dequantizer is a flow of events {given}; the noise of this flow's data is {wanted}")
    if context is None or tuple(context.shape or ()) != tuple(event_shape):
        raise InputError(f"the dequantizer reads the integers: give it context={{'shape': {list(event_shape)}}}")
    if domains not in (None, Interval(0, 1)):
        raise InputError("the dequantizer is a flow of noise in [0, 1]: give its event domain: [0, 1]")


def as_context(k: Tensor, levels: int) -> Tensor:
    """Return integers k as the dequantizer reads them, in units of their range: (k + ½) / levels - ½."""
    return (k + 0.5) / levels - 0.5


def within(k: Tensor, u: Tensor) -> Tensor:
    """Return k + u, rounded so that it stays below k + 1.

    In fp32 the sum of 255 and the largest u would round up to 256, which is out of the data's range.
    """
    return torch.minimum(k + u, torch.nextafter(k + 1, k))
