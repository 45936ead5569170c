"""A bijector with a field that names a plugin of another kind. Imports no torch."""

from flowkit.plugin import BijectorConfig, Descriptor, TransformerRef, hookimpl


class ElementwiseConfig(BijectorConfig):
    """A transformer with parameters of its own for each element, learned, that no network gives."""

    transformer: TransformerRef
    """What is applied to each element."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    return [Descriptor("layer", ElementwiseConfig, "flowkit_elementwise.layer:Elementwise")]
