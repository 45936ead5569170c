"""The hooks that a plugin module may implement: one for each kind, which returns a list of descriptors."""

from __future__ import annotations

import pluggy

from flowkit.plugin.descriptor import Descriptor
from flowkit.plugin.kinds import KINDS, Kind

hookspec = pluggy.HookspecMarker("flowkit")
hookimpl = pluggy.HookimplMarker("flowkit")


def new_manager() -> pluggy.PluginManager:
    """Return a manager of pluggy's that knows flowkit's hooks, and no plugin yet."""
    manager = pluggy.PluginManager("flowkit")
    manager.add_hookspecs(type("Specifications", (), {kind.hook: _specification(kind) for kind in KINDS.values()}))
    return manager


def _specification(kind: Kind) -> object:
    def register() -> list[Descriptor]:
        raise NotImplementedError  # pluggy reads its arguments and never calls it

    register.__name__, register.__doc__ = kind.hook, kind.about
    return hookspec(register)
