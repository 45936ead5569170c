"""Defines the table of the kinds of plugin. Hooks, the registry, the schema and the reference are made from it."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass

from flowkit.errors import Path
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    EncoderConfig,
    MaskedConditionerConfig,
    OrderConfig,
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

    config: type[PluginConfig]
    """The class that configs derive from: ``NameConfig``."""
    target: str
    """The class that targets derive from, as ``"package.module:Class"``. It is imported when a target is built."""
    place: Path
    """The place of such a plugin in a spec. If it is part of a step, this is its place in the first step."""
    example: str
    """A plugin of flowkit's own that needs no fields, and reads vectors and images if there are such."""
    given_context: bool = False
    """True if the plugin is given the context of the flow."""
    step: str = "use"
    """The key of the step that it is a part of, if it is part of one. For an encoder, that of a step that reads it."""
    has_directions: bool = False
    """True if the plugin is a map that may have one direction only."""
    in_flow: bool = True
    """True if the plugin is a part of a flow, and so a torch module."""

    @property
    def name(self) -> str:
        """The name, such as ``masked-conditioner`` for MaskedConditionerConfig."""
        words = re.findall("[A-Z][a-z]*", self.config.__name__.removesuffix("Config"))
        return "-".join(words).lower()

    @property
    def of_context(self) -> bool:
        """True if the plugin takes a context where others take an event, as an encoder does."""
        return self.place[0] == "context"

    @property
    def plural(self) -> str:
        return f"{self.name}s"

    @property
    def hook(self) -> str:
        """The name of the hook that registers plugins of this kind."""
        return f"flowkit_register_{self.plural.replace('-', '_')}"

    def target_base(self) -> type:
        """Import the class that targets derive from."""
        base: type = pkgutil.resolve_name(self.target)
        return base


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            BijectorConfig,
            "flowkit.bijectors:Bijector",
            ("flow", 0),
            "glow/actnorm",
            given_context=True,
            has_directions=True,
        ),
        Kind(
            TransformerConfig,
            "flowkit.bijectors:Transformer",
            ("flow", 0, "coupling"),
            "glow/affine",
            step="coupling",
            has_directions=True,
        ),
        Kind(SplitConfig, "flowkit.bijectors:Split", ("flow", 0, "split"), "glow/channels", step="coupling"),
        Kind(
            ConditionerConfig,
            "flowkit.bijectors:Conditioner",
            ("flow", 0, "conditioner"),
            "glow/mlp",
            given_context=True,
            step="coupling",
        ),
        Kind(
            MaskedConditionerConfig,
            "flowkit.bijectors:MaskedConditioner",
            ("flow", 0, "conditioner"),
            "autoregressive/made",
            given_context=True,
            step="autoregressive",
        ),
        Kind(
            OrderConfig, "flowkit.bijectors:Order", ("flow", 0, "order"), "autoregressive/random", step="autoregressive"
        ),
        Kind(BaseConfig, "flowkit.bijectors:Base", ("base",), "base/standard_normal", given_context=True),
        Kind(EncoderConfig, "flowkit.bijectors:Encoder", ("context", "encoder"), "encoder/mlp", step="coupling"),
        Kind(DatasetConfig, "flowkit.plugin:Dataset", ("data",), "data/digits", in_flow=False),
    )
}
"""The kinds by name, in the order in which they are listed."""
