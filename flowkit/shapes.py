"""Event shapes, without the batch, and how their channels are halved."""

from __future__ import annotations

Shape = tuple[int, ...]
"""[d] for vectors, [channels, height, width] for images."""


def halve(channels: int) -> tuple[int, int]:
    """Divide channels into a first and a second half. Where the number is odd, the first has one more."""
    return channels - channels // 2, channels // 2
