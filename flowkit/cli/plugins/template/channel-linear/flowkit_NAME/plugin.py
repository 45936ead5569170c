"""What a spec may say of the layer in this package. Imports no torch."""

from flowkit.plugin import BijectorConfig, Descriptor, hookimpl
from pydantic import PositiveInt


class NameLayerConfig(BijectorConfig):
    """A learned rotation or reflection of the channels, the same at each position."""

    reflections: PositiveInt = 2
    """How many reflections the map is made of; as many as there are channels reach every orthogonal map."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("layer", NameLayerConfig, "flowkit_NAME.layer:NameLayer"),
    ]
