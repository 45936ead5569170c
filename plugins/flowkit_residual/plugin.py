"""Registers the residual layers. This module doesn't import torch."""

from __future__ import annotations

from typing import ClassVar

from flowkit.plugin import BijectorConfig, Descriptor, Directions, hookimpl


class PlanarConfig(BijectorConfig):
    """Stretches or squeezes the event along one direction: y = x + u tanh(w·x + b). It runs forward only.

    The map is invertible, but the inverse has no formula. With ``inverse: true`` it is a layer that decodes only.
    """

    directions: ClassVar[Directions] = "forward"


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [Descriptor("planar", PlanarConfig, "flowkit_residual.planar:Planar")]
