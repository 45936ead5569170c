"""Registers the layer of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import BijectorConfig, Descriptor, hookimpl
from pydantic import PositiveFloat


class NameLayerConfig(BijectorConfig):
    """Scales and shifts: y = s ⊙ x + b, with a learned scale s and shift b for each channel."""

    initial_scale: PositiveFloat = 1.0
    """The scale s before training."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("layer", NameLayerConfig, "flowkit_NAME.layer:NameLayer"),
    ]
