"""Wrong plugins as a whole: each half is right, and they don't fit."""

from __future__ import annotations

from flowkit.bijectors import Bijector
from flowkit.plugin import BijectorConfig
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.permute import Permute
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


class _OnlyMoves(BijectorConfig):
    """Takes any domain, and passes it on."""

    def domain(self, event):
        return None


@wrong("plugin", "builds", "forward_and_log_det returns 3 values, not y, log_det", config=_Plain)
class ReturnsOneMore(ActNorm):
    """A third value for debugging, which the flow can't unpack."""

    def forward_and_log_det(self, x, context=None):
        return *super().forward_and_log_det(x), x


@wrong("plugin", "declared", "reads a context, and the config says that it reads none", config=_Plain)
class ShiftsWhereItIsGivenAContext(Permute):
    """Reads the context in one direction, and its config says nothing of it: the kit's other checks give it none."""

    def __init__(self, event_shape):
        super().__init__(event_shape)

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return (y if context is None else y + context.sum()), log_det


@wrong("plugin", "declared", "gives other values than it is given", config=_OnlyMoves)
class NegatesWhatItMoves(Bijector):
    """Declares that it takes any domain, as layers that only move values do, and changes signs."""

    def forward_and_log_det(self, x, context=None):
        return -x, x.new_zeros(len(x))

    inverse_and_log_det = forward_and_log_det


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
