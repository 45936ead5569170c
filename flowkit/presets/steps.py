"""Builds the steps of the presets, as data that a spec's text could hold."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

from flowkit.errors import InputError
from flowkit.shapes import Shape
from flowkit.spec import Spec, read_spec
from flowkit.spec.model import VERSION

ShapeLike = SupportsIndex | Sequence[SupportsIndex]
"""The shape of an event or a context. d stands for [d]."""
Content = dict[str, Any]
"""A step of a flow, a transformer or a network."""
Steps = list[Content]

NORMALIZE = {"use": "glow/actnorm"}
AFFINE = {"use": "glow/affine"}
NARROW = {"use": "glow/affine", "scale": [0.5, 2]}
"""The transformer of images, whose flows have many layers."""


def new_spec(
    shape: ShapeLike,
    steps: Callable[[Shape, bool], Steps],
    *,
    classes: int | None,
    context: ShapeLike | None,
    encoder: Content | None,
    domain: Any,
    levels: int | None,
) -> Spec:
    """Return the spec of a flow. ``steps`` are a function of the event's shape, and of whether there is a context.

    Raises SpecError.
    """
    event: Content = {"shape": _listed(shape)}
    checked = read_spec({"flowkit": VERSION, "event": event, "flow": [NORMALIZE]}).event.shape
    conditions = {"classes": classes, "shape": None if context is None else _listed(context), "encoder": encoder}
    conditions = {name: value for name, value in conditions.items() if value is not None}
    ranges = {"levels": levels, "domain": domain}
    event |= {name: value for name, value in ranges.items() if value is not None}
    first = [] if levels is None else [{"use": "glow/rescale"}]
    if domain is not None:
        first = [{"use": "map/to_reals"}]  # it takes the place of the rescaling
    flow = [*first, *steps(checked, bool(conditions))]
    return read_spec({"flowkit": VERSION, "event": event, "context": conditions or None, "flow": flow})


def _listed(shape: Any) -> list[Any]:
    return list(shape) if isinstance(shape, Iterable) else [shape]


def coupling(transformer: Content, event: Shape, hidden: int, split: Content | None = None) -> Content:
    """Return a coupling with a network that suits vectors or images."""
    network = {"use": "glow/convnet" if len(event) == 3 else "glow/mlp", "hidden": hidden}
    return {"coupling": transformer, "conditioner": network, **({} if split is None else {"split": split})}


def halves(transformer: Content, event: Shape, hidden: int, split: str) -> list[Steps]:
    """Return two layers, of which each transforms what the other keeps."""
    swapped = ({"use": split}, {"use": split, "swap": True})
    return [[NORMALIZE, coupling(transformer, event, hidden, each)] for each in swapped]


def mixed(transformer: Content, event: Shape, hidden: int) -> Steps:
    """Return a layer that mixes the channels and transforms half of them."""
    return [NORMALIZE, {"use": "glow/conv1x1"}, coupling(transformer, event, hidden)]


def masked(transformer: Content, hidden: int) -> list[Steps]:
    """Return two autoregressive layers, one in the natural and one in the reversed order."""
    orders = ("autoregressive/natural", "autoregressive/reversed")
    network = {"use": "autoregressive/made", "hidden": hidden}
    steps = ({"autoregressive": transformer, "conditioner": network, "order": {"use": order}} for order in orders)
    return [[NORMALIZE, step] for step in steps]


def elementwise(transformer: Content, hidden: int, conditional: bool) -> Steps:
    """Return a layer for events of one value, with parameters that a network computes from the context, if any."""
    network = {"conditioner": {"use": "glow/mlp", "hidden": hidden}} if conditional else {}
    return [NORMALIZE, {"elementwise": transformer, **network}]


def layered(kinds: Sequence[Steps], layers: SupportsIndex) -> Steps:
    """Return ``layers`` layers, which take turns between the kinds. Raises InputError unless there is at least one."""
    if isinstance(layers, bool) or not isinstance(layers, SupportsIndex) or operator.index(layers) < 1:
        raise InputError(f"layers must be a whole number of at least 1, not {layers!r}")
    turns, rest = divmod(operator.index(layers), len(kinds))
    whole = [{"repeat": turns, "flow": [step for kind in kinds for step in kind]}] if turns else []
    return whole + [step for kind in kinds[:rest] for step in kind]
