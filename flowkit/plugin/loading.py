"""Imports a plugin module and calls its hooks. Whatever goes wrong there becomes a PluginError saying whose it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from flowkit.errors import PluginError
from flowkit.plugin import hooks
from flowkit.plugin.descriptor import NAME, Descriptor
from flowkit.plugin.failure import guarded, outside_devices, reason
from flowkit.plugin.found import Found, Origin

Plugins = dict[str, Found]
"""The plugins of one namespace, keyed by full name."""


def load(entry: EntryPoint) -> Plugins:
    """Import the module of an entry point and ask it for its plugins. Raises PluginError and KeyboardInterrupt only."""
    origin = Origin.of(entry)
    with guarded(f"plugin {entry.name!r} ({origin}, {entry.value})"), outside_devices():
        registered = list(_registered(_import(entry)))
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


def _registered(module: Any) -> Iterator[tuple[str, Descriptor]]:
    """(kind, descriptor) of each plugin, by pluggy, in a manager of its own so that no plugin hides another."""
    manager = pluggy.PluginManager("flowkit")
    manager.add_hookspecs(hooks)
    _check_names(manager, module)
    manager.register(module)  # checks the signatures
    seen: set[str] = set()
    for kind, hook in hooks.HOOKS.items():
        for descriptor in [each for impl in getattr(manager.hook, hook).get_hookimpls() for each in _call(hook, impl)]:
            descriptor.check(kind)
            if descriptor.name in seen:
                raise PluginError(f"the name {descriptor.name!r} is registered twice")
            seen.add(descriptor.name)
            yield kind, descriptor


def _check_names(manager: pluggy.PluginManager, module: Any) -> None:
    """A hook that is misspelt, or not marked, is an error, not a plugin without plugins."""
    known = list(hooks.HOOKS.values())
    marked = [name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None]
    for name in marked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise PluginError(f"{name} is not a hook: did you mean {near[0]}?")
    for name in known:
        if name not in marked and callable(getattr(module, name, None)):
            raise PluginError(f"{name} is not marked as a hook: put @hookimpl of flowkit.plugin above it")
    if not marked:
        raise PluginError(f"it has no hook: define one of {', '.join(known)}, and put @hookimpl above it")


def _call(hook: str, impl: pluggy.HookImpl) -> list[Descriptor]:
    """What one implementation returns: pluggy itself would skip None, and take a generator's items."""
    wanted = f"{hook} must return a list of flowkit.plugin.Descriptor"
    if impl.wrapper or impl.hookwrapper:
        raise PluginError(f"{wanted}, and wrap no other hook")
    try:
        listed = impl.function()
    except Exception as error:
        raise PluginError(f"{hook} fails: {reason(error)}") from error
    if not isinstance(listed, list | tuple):
        raise PluginError(f"{wanted}, not {_what(listed)}")
    for each in listed:
        if not isinstance(each, Descriptor):
            raise PluginError(f"{wanted}; it holds {_what(each)}")
    return list(listed)


def _what(value: Any) -> str:
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
