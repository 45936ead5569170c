"""Checks that a flow has the directions that a spec needs: training needs forward, ``memory: reversible`` both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from flowkit.directions import Directions, Shared, lacks, shared, swapped
from flowkit.errors import Path, PluginError, format_path
from flowkit.spec.identity import declared, uses
from flowkit.spec.model import FactorOutSpec, Item, Repeat, Spec
from flowkit.spec.walk import Step


def directions(item: Item) -> Shared:
    """Return the directions of a step: those that all plugins in it declare, and those of its steps for a repeat.

    Args:
        item: The step.

    Raises:
        PluginError: If a declaration that depends on the fields fails.
    """
    if isinstance(item, Repeat):
        return shared(map(directions, item.flow))
    own = shared(declared(use, "directions", get_args(Directions)) for use in uses(item))
    return swapped(own) if not isinstance(item, FactorOutSpec) and item.inverse else own


def flow_directions(spec: Spec) -> Shared:
    """Return the directions that all layers of the flow have.

    Args:
        spec: The spec.
    """
    return shared(map(directions, spec.flow))


def direction_problem(spec: Spec, steps: Sequence[Step]) -> tuple[Path, str, str | None] | None:
    """Return path, message and suggestion if the flow lacks a direction that the spec needs, or has none at all."""
    first: Step | None = None  # the first layer that runs one way only
    for step in steps:
        try:
            own = directions(step.item)
        except PluginError as error:
            return step.path, str(error), None
        if own == "neither":
            return step.path, f"{step.name} has no direction: one of its parts lacks forward, another the inverse", None
        if own != "both" and first is None:
            first = step
        if first is not None and shared([own, directions(first.item)]) == "neither":
            return _opposed(first, step)
    return None if first is None else _needed(spec, first)


def noise_problem(steps: Sequence[Step]) -> tuple[Path, str, str | None] | None:
    """Return path, message and suggestion if a step of the flow of the dequantization noise runs one way only.

    The noise is drawn through the inverse of each layer, and layers are initialized through their forward direction.
    """
    for step in steps:
        try:
            has = directions(step.item)
        except PluginError as error:
            return step.path, str(error), None
        if has != "both":
            message = f"{step.name} {which_way(has)}, and the flow of the dequantization noise needs both directions"
            return step.path, message, "Use layers that run in both directions"
    return None


def which_way(directions: Shared) -> str:
    """Say which way a layer or a flow runs."""
    words: dict[Shared, str] = {
        "both": "runs in both directions",
        "forward": "runs forward only (data -> latent)",
        "inverse": "runs its inverse only (latent -> data)",
        "neither": "has no direction",
    }
    return words[directions]


def _opposed(first: Step, step: Step) -> tuple[Path, str, str | None]:
    one, other = (which_way(directions(each.item)) for each in (first, step))
    message = f"{step.name} {other}, and {first.name} at {format_path(first.path)} {one}"
    return step.path, f"{message}: the flow could do neither", "Use layers that have a direction in common"


def _needed(spec: Spec, layer: Step) -> tuple[Path, str, str | None] | None:
    """Return the problem if the spec needs the direction that this layer lacks."""
    has = directions(layer.item)
    if spec.data is not None and lacks(has, "forward"):
        message = f"{layer.name} {which_way(has)}, and training on data needs the forward direction"
        return layer.path, message, f"{_turned(layer)}, or leave out data: the flow can be sampled and exported"
    if spec.train.memory == "reversible" and lacks(has, "inverse"):
        named = f"{layer.name} at {format_path(layer.path)} {which_way(has)}"
        message = f"reversible needs the inverse of each layer, and {named}"
        return ("train", "memory"), message, "Use memory: checkpoint"
    return None


def _turned(layer: Step) -> str:
    """Return how a step is run in the opposite direction."""
    return f"Leave out inverse: true at {format_path(layer.path)}" if layer.is_inverse else "Add inverse: true to it"
