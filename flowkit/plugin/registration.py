"""Registers plugins that have no package, in this process."""

from __future__ import annotations

import inspect

from flowkit.errors import PluginError
from flowkit.plugin.config import PluginConfig
from flowkit.plugin.descriptor import NAME, Descriptor, Likelihood
from flowkit.plugin.found import IN_PROCESS, Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.registry import REGISTERED, Registry


def register(name: str, config: type[PluginConfig], target: str | type, likelihood: Likelihood = "exact") -> None:
    """Register a plugin in this process. Its kind is that of the config's base class.

    The plugin can then be named in every spec that this process reads. Registering the name again replaces it. Another
    process, such as a `flowkit` command that exports the run, doesn't know it: for that, make a package.

    Args:
        name: The full name, ``namespace/name``. The namespace must not be that of an installed distribution.
        config: The config class.
        target: The class that is built, or ``"package.module:Class"``.
        likelihood: The kind of likelihood that ``log_prob`` gives with this plugin in a flow.

    Raises:
        PluginError: If the name or the config can't be used. The message says why.

    Examples:
        >>> import torch
        >>> from flowkit import Flow, register
        >>> from flowkit.bijectors import Bijector
        >>> from flowkit.plugin import BijectorConfig
        >>> class NegateConfig(BijectorConfig):
        ...     pass
        >>> class Negate(Bijector):
        ...     def forward_and_log_det(self, x, context=None):
        ...         return -x, x.new_zeros(x.shape[0])
        ...     def inverse_and_log_det(self, y, context=None):
        ...         return -y, y.new_zeros(y.shape[0])
        >>> register("example/negate", NegateConfig, Negate)
        >>> flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "example/negate"}]})
        >>> flow.encode(torch.ones(1, 2))
        (tensor([[-1., -1.]]),)
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
