"""Stands in for the plugins that a spec names by default: ``glow/channels`` and ``base/standard_normal``."""

from __future__ import annotations

from flowkit.plugin import BaseConfig, Descriptor, Shape, ShapeError, SplitConfig, hookimpl


class Channels(SplitConfig):
    """Halves the channels."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        if event[0] % 2:
            raise ShapeError("needs an even number of channels")
        half = (event[0] // 2, *event[1:])
        return half, half


class StandardNormal(BaseConfig):
    """N(0, I)."""


@hookimpl
def flowkit_register_splits() -> list[Descriptor]:
    return [Descriptor("channels", Channels, "nowhere:Channels")]


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [Descriptor("standard_normal", StandardNormal, "nowhere:StandardNormal")]
