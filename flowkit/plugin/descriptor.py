"""What a plugin says of itself: a name, a config class, and the place of the code, not yet imported."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from typing import Any, Literal

from flowkit.errors import PluginError
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    PluginConfig,
    SplitConfig,
    TransformerConfig,
)

API_VERSION = 1
"""The version of the contract between flowkit and its plugins; a descriptor says which one it was written for."""

Likelihood = Literal["exact", "lower_bound", "estimate"]

CONFIG_BASES: dict[str, type[PluginConfig]] = {
    "bijector": BijectorConfig,
    "transformer": TransformerConfig,
    "split": SplitConfig,
    "conditioner": ConditionerConfig,
    "base": BaseConfig,
    "dataset": DatasetConfig,
}
"""The kinds of plugin, each with the class that its configs derive from."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Descriptor:
    """One plugin. Specs call it ``namespace/name``, the namespace being the name of its entry point.

    ``target`` is ``"package.module:Class"``; it is imported only when a flow is assembled, so that validating a
    spec never imports torch. ``likelihood`` says what ``log_prob`` becomes with this plugin in a flow.
    """

    name: str
    config: type[PluginConfig]
    target: str
    likelihood: Likelihood = "exact"
    api: int = API_VERSION

    def check(self, kind: str) -> None:
        """Raises PluginError, saying which field is wrong, unless this describes a plugin of ``kind``."""
        if not (isinstance(self.name, str) and NAME.fullmatch(self.name)):
            raise PluginError(f"the name {self.name!r} must be lower case: a letter, then letters, digits, _")
        if self.api != API_VERSION:
            raise PluginError(f"{self.name} asks for plugin API {self.api}; this flowkit has API {API_VERSION}")
        base = CONFIG_BASES[kind]
        if not (inspect.isclass(self.config) and issubclass(self.config, base)):
            raise PluginError(f"the config of {kind} {self.name} must derive from flowkit.plugin.{base.__name__}")
        if not (isinstance(self.target, str) and TARGET.fullmatch(self.target)):
            raise PluginError(f'the target of {self.name} must read "package.module:Class", not {self.target!r}')

    @property
    def summary(self) -> str:
        """The first line of the config's docstring."""
        return (inspect.getdoc(self.config) or "").partition("\n")[0]

    def load(self) -> Any:
        """Import and return the target class. Raises PluginError if that fails."""
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"plugin {self.name}: its target {self.target} can't be imported: {type(error).__name__}: {error}"
            ) from error
