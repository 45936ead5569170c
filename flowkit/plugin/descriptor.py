"""Defines descriptors of plugins: a name, a config class, and the place of the code, which isn't imported yet."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic_core import to_jsonable_python

from flowkit.directions import Directions
from flowkit.errors import PluginError
from flowkit.plugin.config import PluginConfig, ReadsContext
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.spelling import with_article
from flowkit.version import __version__

API_VERSION = 1
"""The version of the contract between flowkit and its plugins; a descriptor says which one it was written for."""

Likelihood = Literal["exact", "lower_bound", "estimate"]

NAME = re.compile(r"[a-z][a-z0-9_]*")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
STEP_KEYS = frozenset({"use", "repeat", "coupling", "elementwise", "autoregressive", "factor_out", "inverse"})
"""The keys beside a plugin's fields, and those that tell the steps of a spec apart. No field may have such a name."""
MODULE_NAMES = frozenset(
    {"apply", "children", "extra_repr", "modules", "named_children", "named_modules", "named_parameters", "parameters"}
    | {"state_dict", "train", "training"}
)
"""Attributes that torch calls or sets in a module's parts. A field of this name, kept as an attribute, hides it."""


@dataclass(frozen=True)
class Descriptor:
    """One plugin. Specs call it ``namespace/name``, where the namespace is the name of its entry point.

    Attributes:
        name: The name: a letter, then letters, digits and _, all lower case.
        config: The config class, which derives from that of the plugin's kind.
        target: The class that is built, as ``"package.module:Class"``. It is imported only when a flow is assembled, so
            that validating a spec never imports torch. A class that was made in this process may stand for itself.
        likelihood: The kind of likelihood that ``log_prob`` gives with this plugin in a flow: ``"exact"``,
            ``"lower_bound"`` or ``"estimate"``.
        api: The version of the contract between flowkit and plugins that this one was written for.

    Examples:
        >>> from flowkit.plugin import BijectorConfig, Descriptor
        >>> class ShearConfig(BijectorConfig):
        ...     steepness: float = 1.0
        >>> descriptor = Descriptor("shear", ShearConfig, "mine.shear:Shear")
        >>> descriptor.check("bijector")  # raises no error
        >>> descriptor.directions
        'both'
    """

    name: str
    config: type[PluginConfig]
    target: str | type
    likelihood: Likelihood = "exact"
    api: int = API_VERSION

    def check(self, kind: str) -> None:
        """Check that this describes a plugin of a kind.

        Args:
            kind: The name of the kind, such as ``"bijector"``.

        Raises:
            PluginError: If a field is wrong. The message says which, and what to do.
        """
        if not (isinstance(self.name, str) and NAME.fullmatch(self.name)):
            raise PluginError(f"the name {self.name!r} must be lower case: a letter, then letters, digits, _")
        if self.api != API_VERSION:
            is_newer = isinstance(self.api, int) and self.api > API_VERSION
            has = (
                f"this flowkit ({__version__}) has API {API_VERSION}: update {'flowkit' if is_newer else 'the plugin'}"
            )
            raise PluginError(f"{self.name} was made for plugin API {self.api!r}, and {has}")
        base = KINDS[kind].config
        if not (inspect.isclass(self.config) and issubclass(self.config, base)):
            raise PluginError(f"the config of {kind} {self.name} must derive from flowkit.plugin.{base.__name__}")
        if not self.config.__pydantic_complete__:
            raise PluginError(f"the config of {self.name} has a field whose type is not defined: import it")
        if reserved := STEP_KEYS & self.config.model_fields.keys():
            raise PluginError(f"{self.name} has a field {min(reserved)!r}, which specs keep for themselves: rename it")
        if KINDS[kind].in_flow and (hidden := MODULE_NAMES & self.config.model_fields.keys()):
            raise PluginError(
                f"{self.name} has a field {min(hidden)!r}, and its layer would hide the attribute of torch.nn.Module "
                "that is called so: rename it"
            )
        given, maps = KINDS[kind].given_context, KINDS[kind].has_directions
        self._check_declared(kind, "reads_context", get_args(ReadsContext), given, "is given no context")
        self._check_declared(kind, "directions", get_args(Directions), maps, "has none of its own")
        self._check_defaults()
        if not (inspect.isclass(self.target) or (isinstance(self.target, str) and TARGET.fullmatch(self.target))):
            raise PluginError(f'the target of {self.name} must read "package.module:Class", not {self.target!r}')
        self._check_choice("the likelihood", self.likelihood, get_args(Likelihood))

    def _check_choice(self, field: str, value: Any, known: Sequence[str]) -> None:
        if value not in known:
            raise PluginError(f"{field} of {self.name} must be one of {', '.join(known)}, not {value!r}")

    def _check_declared(self, kind: str, name: str, known: Sequence[str], is_free: bool, why: str) -> None:
        """Check what the config declares. Unless its kind is free to declare, it must be the first of the known."""
        declared = getattr(self.config, name)
        if isinstance(declared, property):
            return
        self._check_choice(name, declared, known)
        if declared != known[0] and not is_free:
            raise PluginError(f"{name} of {self.name} must be {known[0]}: {with_article(kind)} {why}")

    def _check_defaults(self) -> None:
        for name, field in self.config.model_fields.items():
            try:
                default = field.get_default(call_default_factory=True, validated_data={})
            except Exception:  # a factory that needs other fields, or is broken: a spec will tell
                continue
            try:
                json.dumps(to_jsonable_python(default, fallback=str), allow_nan=False)
            except ValueError as error:  # it has NaN or infinity in it
                no_spec = "which no spec can say: take None for none, or a number"
                raise PluginError(f"the default of {self.name}.{name} is {default!r}, {no_spec}") from error

    def load(self) -> Any:
        """Return the target class. It is imported unless it has been.

        Errors of the import pass through. ``Found.load`` turns them into errors that name the plugin.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    @property
    def place(self) -> str:
        """The place of the target, as ``"package.module:Class"``."""
        return self.target if isinstance(self.target, str) else f"{self.target.__module__}:{self.target.__qualname__}"

    @property
    def directions(self) -> str:
        """The directions that the config declares, or "by its fields" if they depend on these."""
        declared = self.config.directions
        return "by its fields" if isinstance(declared, property) else declared

    @property
    def summary(self) -> str:
        """The first line of the config's docstring."""
        return (inspect.getdoc(self.config) or "").partition("\n")[0]
