"""The table of the kinds of plugin. All code that depends on the kind of a plugin reads it."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass

from flowkit.errors import Path
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    PluginConfig,
    SplitConfig,
    TransformerConfig,
)


@dataclass(frozen=True)
class Kind:
    """One kind of plugin.

    The scaffold that `flowkit plugins new` copies is the directory ``cli/plugins/template/NAME``, and the checks of
    the conformance kit are those of ``flowkit.testing.CHECKS[NAME]``.
    """

    name: str
    about: str
    """A line that says what such plugins are for."""
    config: type[PluginConfig]
    """The class that configs derive from."""
    target: str
    """The class that targets derive from, as ``"package.module:Class"``. It is imported when a target is built."""
    call: str
    """The arguments that a target is called with."""
    place: Path
    """The place of such a plugin in a spec. If it is part of a step, this is its place in the first step."""
    example: str
    """A plugin of flowkit's own that needs no fields, and reads vectors and images if there are such."""
    given_context: bool = False
    """True if the plugin is given the context of the flow."""
    in_flow: bool = True
    """True if the plugin is a part of a flow, and so a torch module."""

    @property
    def plural(self) -> str:
        """The name of many: flowkit's words for kinds all take an s."""
        return f"{self.name}s"

    @property
    def hook(self) -> str:
        """The name of the hook that registers plugins of this kind."""
        return f"flowkit_register_{self.plural}"

    def target_base(self) -> type:
        """Import the class that targets derive from."""
        base: type = pkgutil.resolve_name(self.target)
        return base


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "bijector",
            "Layers that stand on their own in a flow.",
            config=BijectorConfig,
            target="flowkit.bijectors:Bijector",
            call="event_shape, **fields",
            place=("flow", 0),
            example="glow/actnorm",
            given_context=True,
        ),
        Kind(
            "transformer",
            "Elementwise maps for couplings.",
            config=TransformerConfig,
            target="flowkit.bijectors:Transformer",
            call="**fields",
            place=("flow", 0, "coupling"),
            example="glow/affine",
        ),
        Kind(
            "split",
            "Ways to divide an event for a coupling.",
            config=SplitConfig,
            target="flowkit.bijectors:Split",
            call="event_shape, **fields",
            place=("flow", 0, "split"),
            example="glow/channels",
        ),
        Kind(
            "conditioner",
            "Networks that give couplings their parameters.",
            config=ConditionerConfig,
            target="flowkit.bijectors:Conditioner",
            call="kept_shape, params_shape, context_shape, **fields",
            place=("flow", 0, "conditioner"),
            example="glow/mlp",
            given_context=True,
        ),
        Kind(
            "base",
            "Base distributions.",
            config=BaseConfig,
            target="flowkit.bijectors:Base",
            call="event_shape, **fields",
            place=("base",),
            example="base/standard_normal",
        ),
        Kind(
            "dataset",
            "Sources of training data.",
            config=DatasetConfig,
            target="flowkit.plugin:Dataset",
            call="**fields",
            place=("data",),
            example="data/digits",
            in_flow=False,
        ),
    )
}
"""The kinds by name, in the order in which they are listed."""
