"""Decides which installed plugins may be used. Environment variables say so; options of ``flowkit`` set them.

One mechanism serves the command line, its child processes, and Python: ``Registry.discover`` reads it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from flowkit.errors import PluginError
from flowkit_nf import DISTRIBUTION

FIRST_PARTY = DISTRIBUTION
"""flowkit's own distribution, whose plugins are there unless ``--deny-plugins`` names them."""

HOW_TO_ALLOW = {
    "--no-plugins": "leave that out (--no-plugins, FLOWKIT_NO_PLUGINS) to use it",
    "--allow-plugins": "add it to that list (--allow-plugins, FLOWKIT_ALLOW_PLUGINS) to use it",
    "--deny-plugins": "take it off that list (--deny-plugins, FLOWKIT_DENY_PLUGINS) to use it",
}
"""The options that may deny a plugin, and what to do about each."""

FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("", "0", "false", "no", "off"), False)


@dataclass(frozen=True)
class Policy:
    """The conditions for loading a plugin, all of which it must meet. By default there are none.

    Attributes:
        no_plugins: Leave only what flowkit's own distribution brings.
        allow: Leave only that and these namespaces. None allows all.
        deny: Leave out these namespaces, flowkit's own among them.
        strict: Make an installed plugin that is allowed, but can't be used, an error, whether it is named or not.

    Examples:
        >>> from flowkit.plugin import Policy, Registry
        >>> own, _ = Registry.discover(Policy(no_plugins=True)).load_all()
        >>> "glow/actnorm" in {found.name for found in own}
        True
    """

    no_plugins: bool = False
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def from_environment(cls) -> Policy:
        """Return the policy that environment variables set.

        FLOWKIT_NO_PLUGINS and FLOWKIT_STRICT are 1 or 0. FLOWKIT_ALLOW_PLUGINS and FLOWKIT_DENY_PLUGINS list
        namespaces. An empty list of what is allowed leaves only what flowkit brings.

        Raises:
            PluginError: If a variable has another value.
        """
        allow, deny = _namespaces_in("FLOWKIT_ALLOW_PLUGINS"), _namespaces_in("FLOWKIT_DENY_PLUGINS")
        return cls(_flag("FLOWKIT_NO_PLUGINS"), allow, deny or frozenset(), _flag("FLOWKIT_STRICT"))

    def denied_by(self, namespace: str, distribution: str) -> str | None:
        """Return the option that keeps a distribution's plugins away, such as ``"--deny-plugins"``, or None.

        Args:
            namespace: The namespace of the plugins.
            distribution: The name of the distribution that brings them.
        """
        if namespace in self.deny:
            return "--deny-plugins"
        if distribution == FIRST_PARTY:
            return None
        if self.no_plugins:
            return "--no-plugins"
        return "--allow-plugins" if self.allow is not None and namespace not in self.allow else None


def _flag(variable: str) -> bool:
    text = os.environ.get(variable, "")
    if text.lower() not in FLAGS:
        raise PluginError(f"{variable} must be 1 or 0, not {text!r}")
    return FLAGS[text.lower()]


def _namespaces_in(variable: str) -> frozenset[str] | None:
    """Return the namespaces that a variable lists, or None if it isn't set."""
    if variable not in os.environ:
        return None
    names = frozenset(re.split(r"[\s,]+", os.environ[variable])) - {""}
    for name in sorted(names):
        if "/" in name:
            raise PluginError(f"{variable} takes namespaces, such as {name.partition('/')[0]}, not {name!r}")
    return names
