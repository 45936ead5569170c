"""The torch-free half of a plugin: a pydantic config for its fields, and a rule for the shapes it takes and gives.

A plugin's config class derives from the base of its kind below. Its fields are the keyword arguments of the class
that the plugin's ``target`` names, kept there as attributes of the same names, so that a flow built in Python can be
written back as a spec.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Shape = tuple[int, ...]


def halve(channels: int) -> tuple[int, int]:
    """How channels are divided: the first half is kept, and has one more where the number is odd."""
    return channels - channels // 2, channels // 2


class PluginConfig(BaseModel):
    """Fields that a spec may set. Unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class BijectorConfig(PluginConfig):
    """A layer on its own: ``{use: namespace/name, …}`` in a flow.  Built as ``Target(event_shape, **fields)``."""

    def output_shape(self, event: Shape) -> Shape:
        """The event shape that leaves, without the batch. Raises ShapeError if the layer can't take ``event``."""
        return event


class SplitConfig(PluginConfig):
    """Divides an event for a coupling.  Built as ``Target(event_shape, **fields)``."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        """The shapes (kept, transformed) of the two parts. Raises ShapeError if ``event`` can't be divided."""
        raise NotImplementedError


class ConditionerConfig(PluginConfig):
    """A network from the kept part to parameters.

    Built as ``Target(kept_shape, params_shape, context_shape, **fields)``, params_shape being
    [n_params, *transformed].
    """

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        """Raises ShapeError if the network can't read ``kept`` or can't write ``transformed``."""


class TransformerConfig(PluginConfig):
    """An elementwise invertible map.  Built as ``Target(**fields)``."""


class BaseConfig(PluginConfig):
    """A base distribution over the last latent.  Built as ``Target(event_shape, **fields)``."""


class DatasetConfig(PluginConfig):
    """Where data comes from.  Built as ``Target(**fields)``.

    Fields of type pathlib.Path are made absolute when a run begins, so that it can be resumed from anywhere.
    """
