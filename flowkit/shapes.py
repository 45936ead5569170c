"""Event shapes, without the batch, and how their channels are halved."""

from __future__ import annotations

Shape = tuple[int, ...]
"""[d] for vectors, [channels, height, width] for images."""


def halve(channels: int) -> tuple[int, int]:
    """Divide channels into a first and a second half.

    Args:
        channels: The number of channels.

    Returns:
        The sizes of both halves. If the number is odd, the first half has one channel more.
    """
    return channels - channels // 2, channels // 2
