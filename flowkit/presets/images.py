"""Builds multi-scale architectures of flows of images (Dinh et al. 2017, §3.6)."""

from __future__ import annotations

from dataclasses import dataclass

from flowkit.presets.steps import NARROW, Content, Steps, halves, layered, mixed
from flowkit.shapes import Shape, halve

FACTORS = (2, 3, 5, 7)
"""The side lengths of the blocks that the first squeeze may make channels of."""
LATER_FACTORS = FACTORS[:2]
SMALLEST = 4
"""The smallest side of an image that a later squeeze leaves."""

PRIOR = {"coupling": NARROW, "conditioner": {"use": "glow/convnet", "hidden": 0}}


@dataclass(frozen=True)
class Scale:
    """One scale: a squeeze by ``factor`` from ``entering`` to ``event``, layers, and a latent that ``leaves``.

    Nothing leaves after the last scale: ``leaves`` is None.
    """

    entering: Shape
    factor: int
    event: Shape
    leaves: Shape | None


def scales(event: Shape) -> list[Scale]:
    """Plan the scales of an image [c, h, w]. There are none if its sides have no factor of FACTORS in common."""
    found: list[Scale] = []
    factor = _factor(event, FACTORS, smallest=1)
    while factor:
        c, h, w = event
        squeezed = (c * factor**2, h // factor, w // factor)
        following = _factor(squeezed, LATER_FACTORS, SMALLEST)
        kept, leaves = halve(squeezed[0])
        found.append(Scale(event, factor, squeezed, (leaves, *squeezed[1:]) if following else None))
        factor, event = following, (kept, *squeezed[1:])
    return found


def _factor(event: Shape, factors: tuple[int, ...], smallest: int) -> int | None:
    """Return the factor for a squeeze that leaves no side below ``smallest``."""
    _, h, w = event
    return next((f for f in factors if h % f == w % f == 0 and min(h, w) // f >= smallest), None)


def glow_scales(event: Shape, transformer: Content, layers: int, hidden: int) -> Steps:
    """Return the scales of Glow: each has ``layers`` layers that mix the channels and transform half of them.

    A latent that leaves has a learned prior: a coupling transforms it, given the channels that stay.
    """
    planned = scales(event)
    steps = [] if planned else _single_scale(event, transformer, layers, hidden)
    for scale in planned:
        steps += [_squeeze(scale), *layered([mixed(transformer, scale.event, hidden)], layers)]
        steps += [PRIOR, {"factor_out": "channels"}] if scale.leaves else []
    return steps


def _single_scale(event: Shape, transformer: Content, layers: int, hidden: int) -> Steps:
    if event[0] > 1:
        return layered([mixed(transformer, event, hidden)], layers)
    return layered(halves(transformer, event, hidden, "glow/checkerboard"), layers)


def realnvp_scales(event: Shape, layers: int, hidden: int) -> Steps:
    """Return the scales of RealNVP: each has couplings of a checkerboard, a squeeze, and couplings of the channels."""
    planned = scales(event)
    split = "glow/channels" if event[0] > 1 else "glow/checkerboard"
    steps = [] if planned else layered(halves(NARROW, event, hidden, split), layers)
    for scale in planned:
        checkered = layered(halves(NARROW, scale.entering, hidden, "glow/checkerboard"), layers)
        steps += checkered if scale.entering[2] % 2 == 0 else []
        steps += [_squeeze(scale), *layered(halves(NARROW, scale.event, hidden, "glow/channels"), layers)]
        steps += [{"factor_out": "channels"}] if scale.leaves else []
    return steps


def _squeeze(scale: Scale) -> Content:
    return {"use": "glow/squeeze", "factor": scale.factor}
