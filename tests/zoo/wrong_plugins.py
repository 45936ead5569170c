"""Wrong plugins as a whole: each half is right, and they don't fit."""

from __future__ import annotations

from flowkit.plugin import BijectorConfig
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.squeeze import Squeeze
from tests.zoo.zoo import wrong


class _Plain(BijectorConfig):
    """No fields, and the shape unchanged."""


class _Factor(BijectorConfig):
    """A field."""

    factor: int = 3


@wrong("plugin", "builds", "make them agree", config=_Plain)
class ShapeRuleForgotten(Squeeze):
    """The layer changes the shape, and the config has no output_shape."""


@wrong("plugin", "builds", "unexpected keyword argument 'factor'", config=_Factor)
class FieldUnknownToTheLayer(ActNorm):
    """The config has a field that __init__ doesn't take."""


@wrong("plugin", "written_back", "does not keep its fields as attributes: factor", config=_Factor)
class FieldNotKept(ActNorm):
    """A field is used in __init__ and forgotten: the flow can't be written as a spec."""

    def __init__(self, event_shape, factor):
        super().__init__(event_shape)


@wrong("plugin", "written_back", "it was built from", config=_Factor)
class FieldKeptChanged(ActNorm):
    """What is kept under the field's name is something computed from it."""

    def __init__(self, event_shape, factor):
        super().__init__(event_shape)
        self.factor = 2 * factor


@wrong("plugin", "light", "imports torch", config=_Plain, module=ActNorm.__module__)
class TorchInThePluginModule(ActNorm):
    """plugin.py imports the layer at its top, and torch with it: every `flowkit validate` waits for seconds."""
