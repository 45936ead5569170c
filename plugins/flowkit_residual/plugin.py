"""Registers the residual layers. This module doesn't import torch."""

from __future__ import annotations

from flowkit.plugin import BijectorConfig, Descriptor, Directions, hookimpl


class PlanarConfig(BijectorConfig):
    """Stretches or squeezes the event along one direction: y = x + u tanh(w·x + b). By default it runs forward only.

    The map is invertible, but the inverse has no formula. With ``inverse: true`` it is a layer that decodes only.
    """

    numeric_inverse: bool = False
    """Find the inverse by bisection, so that the layer runs both ways."""

    @property
    def directions(self) -> Directions:  # type: ignore[override]
        return "both" if self.numeric_inverse else "forward"


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [Descriptor("planar", PlanarConfig, "flowkit_residual.planar:Planar")]
