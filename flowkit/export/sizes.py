"""The same flow for images of another size, where its weights allow that."""

from __future__ import annotations

import math

from flowkit.errors import ExportError, FlowkitError, InputError
from flowkit.export.graphs import OTHER_SIZE
from flowkit.flow import Flow
from flowkit.spec import canonical


def resized(flow: Flow) -> Flow:
    """The flow for images OTHER_SIZE times as high and wide.

    Raises InputError if its events or contexts are none, ExportError if it isn't the same weights.
    """
    if len(flow.event_shape) != 3 or (flow.context is not None and len(flow.context.shape or ()) == 3):
        raise InputError("graphs for any size are of images alone: neither of vectors nor of images as context")
    c, h, w = flow.event_shape
    shape = [c, h * OTHER_SIZE[0], w * OTHER_SIZE[1]]
    spec = canonical(flow.to_spec())
    try:
        other = Flow.from_spec({**spec, "event": {**spec["event"], "shape": shape}})
        other.load_state_dict(flow.state_dict())
    except (FlowkitError, RuntimeError) as error:
        raise ExportError(
            f"this flow is of one image size: at {shape} {str(error).splitlines()[-1].strip()}"
        ) from error
    return other.to(flow.device, flow.dtype).eval()


def smallest_steps(flow: Flow) -> list[int]:
    """What heights and widths must be multiples of, so that latents have whole sizes."""
    _, h, w = flow.event_shape
    return [
        math.lcm(*(size // math.gcd(size, shape[axis]) for shape in flow.latent_shapes))
        for axis, size in ((1, h), (2, w))
    ]
