"""Defines domains, the sets of values that the coordinates of an event may take.

A layer declares the domain that it takes and the one that it gives. A flow is a bijection from the domain of its data
to the support of its base distribution only if each layer takes what the layer before it gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowkit.shapes import halve


def _check_ends(low: float, high: float) -> None:
    if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
        raise ValueError(f"a domain begins below its end, not at {low!r} and {high!r}")


@dataclass(frozen=True)
class Interval:
    """The values between two ends, either of which may be infinite. Both ends infinite are the reals.

    The ends don't belong to it.

    Args:
        low: The lower end.
        high: The upper end.

    Raises:
        ValueError: Unless low < high.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high)

    def __str__(self) -> str:
        if self == REALS:
            return "the reals"
        return f"({self.low:g}, {self.high:g})".replace("inf", "∞")


@dataclass(frozen=True)
class Circle:
    """The values between two ends that are the same point: an angle, or a time of the day.

    Args:
        low: The lower end.
        high: The upper end.

    Raises:
        ValueError: Unless low < high, and both are finite.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high)
        if not math.isfinite(self.high - self.low):
            raise ValueError(f"a circle has two finite ends, not {self.low} and {self.high}")

    def __str__(self) -> str:
        return f"the circle [{self.low:g}, {self.high:g})"


REALS = Interval()
"""The domain of all real numbers."""
POSITIVE = Interval(0.0)
"""The domain of all numbers above 0."""

Domain = Interval | Circle
"""The values of one coordinate."""

Domains = Domain | tuple[Domain, ...]
"""The domain of all coordinates of an event, or of each coordinate of a vector [d]."""


def by_coordinate(domains: Domains) -> tuple[Domain, ...]:
    """Return the domains of the coordinates: one that they share, or one for each.

    Args:
        domains: A domain, or a tuple of them.
    """
    return domains if isinstance(domains, tuple) else (domains,)


def spelled(domains: Domains) -> str:
    """Return the domains for a message: ``the reals``, or ``((0, 1), the reals)``."""
    return f"({', '.join(map(str, domains))})" if isinstance(domains, tuple) else str(domains)


def simplified(domains: Domains) -> Domains:
    """Return a single domain if all coordinates have the same one."""
    return domains[0] if isinstance(domains, tuple) and len(set(domains)) == 1 else domains


def halved(domains: Domains) -> tuple[Domains, Domains]:
    """Return the domains of both halves of a vector's coordinates."""
    if not isinstance(domains, tuple):
        return domains, domains
    first, _ = halve(len(domains))
    return simplified(domains[:first]), simplified(domains[first:])
