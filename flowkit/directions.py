"""Defines directions: which of its two maps a layer can compute, data -> latent or latent -> data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Direction = Literal["forward", "inverse"]
"""forward: data -> latent, which densities need. inverse: latent -> data, which samples need."""

Directions = Literal["both", "forward", "inverse"]
"""The directions of a layer or a flow."""

Shared = Directions | Literal["neither"]
"""The directions that several layers have in common."""


def shared(declared: Iterable[Shared]) -> Shared:
    """Return the directions that all of these have: one that runs forward only makes the whole run forward only."""
    one_way = {each for each in declared if each != "both"}
    if not one_way:
        return "both"
    return one_way.pop() if len(one_way) == 1 else "neither"


def swapped(directions: Shared) -> Shared:
    """Return the directions of a layer that is run in the opposite direction."""
    opposite: dict[Shared, Shared] = {"forward": "inverse", "inverse": "forward"}
    return opposite.get(directions, directions)


def lacks(directions: Shared, direction: Direction) -> bool:
    """Return True if ``direction`` is missing."""
    return directions not in ("both", direction)


def defined(cls: type, base: type, forward: str, inverse: str) -> Shared:
    """Return the directions of a class: those whose methods aren't the ones of ``base``, which raise an error."""
    there = tuple(getattr(cls, name) is not getattr(base, name) for name in (forward, inverse))
    of: dict[tuple[bool, ...], Shared] = {(True, True): "both", (True, False): "forward", (False, True): "inverse"}
    return of.get(there, "neither")
