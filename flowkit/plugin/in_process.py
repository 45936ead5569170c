"""flowkit.register: plugins of this process alone, for notebooks and scripts."""

from __future__ import annotations

import inspect

from flowkit.errors import PluginError
from flowkit.plugin.config import PluginConfig
from flowkit.plugin.descriptor import NAME, Descriptor, Likelihood
from flowkit.plugin.found import IN_PROCESS, Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.registry import REGISTERED, Registry


def register(name: str, config: type[PluginConfig], target: str | type, likelihood: Likelihood = "exact") -> None:
    """Register a plugin ``namespace/name`` in this process; its kind is that of the config's base class.

    ``target`` is the class that is built, or ``"package.module:Class"``. The plugin can then be named in every spec
    that this process reads; registering the name again replaces it. Another process, such as a `flowkit` command
    that exports the run, doesn't know it: for that, make a package. Raises PluginError.
    """
    namespace, slash, last = name.partition("/")
    if not slash or not NAME.fullmatch(namespace):
        raise PluginError(f"{name!r} is not a plugin name: write namespace/name, such as mine/scale")
    kind, descriptor = _kind(config), Descriptor(last, config, target, likelihood)
    descriptor.check(kind)
    if rivals := [claim.origin for claim in Registry.discover().claims(namespace) if claim.origin != IN_PROCESS]:
        raise PluginError(f"plugin namespace {namespace!r} is that of {rivals[0]}: choose another, such as mine/{last}")
    REGISTERED[name] = Found(name, kind, descriptor, IN_PROCESS)


def _kind(config: type[PluginConfig]) -> str:
    for kind in KINDS.values():
        if inspect.isclass(config) and issubclass(config, kind.config):
            return kind.name
    bases = ", ".join(kind.config.__name__ for kind in KINDS.values())
    raise PluginError(f"the config must be a class that derives from one of flowkit.plugin's {bases}, not {config!r}")
