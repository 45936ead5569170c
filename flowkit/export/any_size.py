"""Builds the same flow for images of another size if its weights allow that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowkit.errors import ExportError, FlowkitError, InputError
from flowkit.export.graphs import OTHER_SIZE
from flowkit.export.program import base_noise
from flowkit.flow import Flow
from flowkit.flow.building import count_parameters
from flowkit.spec import canonical, read_spec


def at_other_size(flow: Flow) -> Flow:
    """Return the flow for images OTHER_SIZE times as high and wide.

    Raises InputError if its events or contexts are none, or its bases have noise of one size. Raises ExportError if it
    isn't the same weights.
    """
    if flow.dequantizer is not None:
        raise InputError("a flow whose dequantization noise is learned can't be exported for any size")
    if base_noise(flow):
        raise InputError("a flow with another base than base/standard_normal can't be exported for any size")
    if len(flow.event_shape) != 3 or (flow.context is not None and len(flow.context.shape or ()) == 3):
        raise InputError("only a flow of images, whose context isn't an image, can be exported for any size")
    _, h, w = flow.event_shape
    sides = h * OTHER_SIZE[0], w * OTHER_SIZE[1]
    try:
        other = Flow.from_spec(_of_size(canonical(flow.to_spec()), sides))
        other.load_state_dict(flow.state_dict())
    except (FlowkitError, RuntimeError) as error:
        shape = [flow.event_shape[0], *sides]
        raise ExportError(
            f"this flow is of one image size: at {shape} {str(error).splitlines()[-1].strip()}"
        ) from error
    return other.to(flow.device, flow.dtype).eval()


def smallest_steps(flow: Flow) -> list[int]:
    """Return what heights and widths must be multiples of.

    Latents have whole sizes then, and layers take what reaches them, as a checkerboard takes even widths.
    """
    spec, steps = canonical(flow.to_spec()), []
    for axis, side in ((1, flow.event_shape[1]), (2, flow.event_shape[2])):
        whole = math.lcm(*(side // math.gcd(side, shape[axis]) for shape in flow.latent_shapes))
        candidates = [step for step in range(whole, side, whole) if side % step == 0]
        steps.append(next((step for step in candidates if _takes_multiples(flow, spec, axis, step)), side))
    return steps


def _takes_multiples(flow: Flow, spec: dict[str, Any], axis: int, step: int) -> bool:
    """Return True if the layers can be built for images of step, twice and three times that, along one axis."""
    _, *sides = flow.event_shape
    try:
        for times in (1, 2, 3):
            sides[axis - 1] = times * step
            count_parameters(read_spec(_of_size(spec, sides)))
    except FlowkitError:
        return False
    return True


def _of_size(spec: dict[str, Any], sides: Sequence[int]) -> dict[str, Any]:
    """Return the spec for images of this height and width."""
    event = spec["event"]
    return {**spec, "event": {**event, "shape": [event["shape"][0], *sides]}}
