"""Imports a plugin module and calls its hooks. Whatever goes wrong there becomes a PluginError saying whose it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pluggy

from flowkit.errors import PluginError
from flowkit.plugin.descriptor import NAME, Descriptor
from flowkit.plugin.failure import as_by_itself, guarded, reason
from flowkit.plugin.found import Found, Origin
from flowkit.plugin.kinds import KINDS, Kind
from flowkit_runtime.errors import shortened

hookspec = pluggy.HookspecMarker("flowkit")
hookimpl = pluggy.HookimplMarker("flowkit")
"""The decorator of the functions with which a plugin's module answers flowkit's hooks."""


def new_manager() -> pluggy.PluginManager:
    """Return a manager of pluggy's that knows flowkit's hooks, and no plugin yet."""
    manager = pluggy.PluginManager("flowkit")
    manager.add_hookspecs(type("Specifications", (), {kind.hook: _specification(kind) for kind in KINDS.values()}))
    return manager


def _specification(kind: Kind) -> object:
    def register() -> list[Descriptor]:
        raise NotImplementedError  # pluggy reads its arguments and never calls it

    register.__name__ = kind.hook
    return hookspec(register)


Plugins = dict[str, Found]
"""The plugins of one namespace, keyed by full name."""


def load_plugins(entry: EntryPoint, origin: Origin, manager: pluggy.PluginManager) -> Plugins:
    """Import the module of an entry point that ``origin`` brings, register it with the manager and call its hooks.

    Raises PluginError and KeyboardInterrupt only.
    """
    with guarded(f"plugin {entry.name!r} ({origin}, {entry.value})"), as_by_itself():
        registered = _registered(entry.name, _import(entry), manager)
    found = [
        Found(f"{entry.name}/{descriptor.name}", kind, descriptor, origin, entry.module)
        for kind, descriptor in registered
    ]
    return {each.name: each for each in found}


def _import(entry: EntryPoint) -> Any:
    if not NAME.fullmatch(entry.name):
        raise PluginError("a namespace must be lower case: a letter, then letters, digits, _")
    if not EntryPoint.pattern.match(entry.value):
        raise PluginError("the entry point must name a module, such as mine.plugin")
    return entry.load()


def _registered(namespace: str, module: Any, manager: pluggy.PluginManager) -> list[tuple[str, Descriptor]]:
    """Return (kind, descriptor) of each plugin. The manager keeps the module, unless something in it is wrong."""
    _check_marks(module, manager)
    if manager.is_registered(module):  # it brings another namespace too
        return list(_described(module, manager))
    try:
        manager.register(module, namespace)  # checks the signatures
        return list(_described(module, manager))
    except BaseException:
        if manager.is_registered(module):
            manager.unregister(module)
        raise


def _check_marks(module: Any, manager: pluggy.PluginManager) -> None:
    """Raise PluginError for a hook that isn't marked, is none of flowkit's, or wraps those of others."""
    if not isinstance(module, ModuleType):
        raise PluginError("the entry point must name a module, such as mine.plugin")
    known = [kind.hook for kind in KINDS.values()]
    marked = {name: options for name in dir(module) if (options := manager.parse_hookimpl_opts(module, name))}
    for name in known:
        if name not in marked and callable(getattr(module, name, None)):
            raise PluginError(f"{name} is not marked as a hook: put @hookimpl of flowkit.plugin above it")
    if not marked:
        raise PluginError(f"it has no hook: define one of {', '.join(known)}, and put @hookimpl above it")
    for name, options in marked.items():
        if name not in known:
            (near,) = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise PluginError(f"{name} is not a hook: did you mean {near}?")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"{name} must return descriptors, and wrap no other hook")


def _described(module: ModuleType, manager: pluggy.PluginManager) -> Iterator[tuple[str, Descriptor]]:
    """Yield (kind, descriptor) of all that this module's hooks return. Other modules of the manager aren't called."""
    others = [each for each in manager.get_plugins() if each is not module]
    seen: set[str] = set()
    for kind in KINDS.values():
        for descriptor in _call(manager.subset_hook_caller(kind.hook, others)):
            descriptor.check(kind.name)
            if descriptor.name in seen:
                raise PluginError(f"the name {descriptor.name!r} is registered twice")
            seen.add(descriptor.name)
            yield kind.name, descriptor


def _call(caller: pluggy.HookCaller) -> list[Descriptor]:
    """Call a hook that one module at most implements."""
    try:
        results = caller()
    except Exception as error:
        raise PluginError(f"{caller.name} fails: {reason(error)}") from error
    if len(results) < len(caller.get_hookimpls()):  # pluggy leaves None out
        results = [None]
    for listed in results:
        if not isinstance(listed, list | tuple) or not all(isinstance(each, Descriptor) for each in listed):
            wanted = f"{caller.name} must return a list of flowkit.plugin.Descriptor"
            raise PluginError(f"{wanted}, not {shortened(repr(listed))}")
    return [each for listed in results for each in listed]
