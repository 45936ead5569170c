"""What a spec may say of the layer in this package. Imports no torch."""

from flowkit.plugin import BijectorConfig, Descriptor, hookimpl
from pydantic import PositiveFloat


class NameLayerConfig(BijectorConfig):
    """y = s ⊙ x + b, with a learned scale s and shift b for each channel."""

    initial_scale: PositiveFloat = 1.0
    """s before training."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("layer", NameLayerConfig, "flowkit_NAME.layer:NameLayer"),
    ]
