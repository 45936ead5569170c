"""Registers the layer of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import BijectorConfig, Descriptor, hookimpl
from pydantic import PositiveInt


class NameLayerConfig(BijectorConfig):
    """A learned rotation or reflection of the channels, the same at each position."""

    reflections: PositiveInt = 2
    """The number of reflections. As many as there are channels can be every orthogonal map."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [
        Descriptor("layer", NameLayerConfig, "flowkit_NAME.layer:NameLayer"),
    ]
