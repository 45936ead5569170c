"""Looks plugin names up. Discovery reads package metadata only; a plugin's module is imported when it is named."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

import pluggy

from flowkit.errors import PluginError
from flowkit.plugin import hooks
from flowkit.plugin.descriptor import CONFIG_BASES, Descriptor

GROUP = "flowkit"
"""The entry-point group. An entry point's name is the namespace of the plugins in its module."""


class UnknownPlugin(PluginError):
    """No installed plugin has this name; ``suggestion`` names the nearest ones that exist."""

    def __init__(self, message: str, suggestion: str | None = None):
        super().__init__(message if suggestion is None else f"{message}; {suggestion}")
        self.message, self.suggestion = message, suggestion


@dataclass(frozen=True)
class Found:
    """A plugin that is installed: its full name, kind and descriptor, and the distribution that brings it."""

    name: str
    kind: str
    descriptor: Descriptor
    distribution: str
    version: str


@dataclass
class Registry:
    """The plugins that can be named in specs: those of the entry points in ``entries``, keyed by namespace."""

    entries: dict[str, list[EntryPoint]] = field(default_factory=dict)
    _loaded: dict[str, dict[tuple[str, str], Found]] = field(default_factory=dict, repr=False)

    @classmethod
    def discover(cls) -> Registry:
        """Everything installed in this environment. Imports nothing."""
        entries: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=GROUP):
            if entry not in entries.setdefault(entry.name, []):
                entries[entry.name].append(entry)
        return cls(entries)

    def look_up(self, kind: str, name: str) -> Found:
        """The plugin ``namespace/name`` of this kind. Raises UnknownPlugin or PluginError."""
        namespace, slash, _ = name.partition("/")
        if slash and namespace in self.entries:
            found = self.namespace(namespace)
            if (kind, name) in found:
                return found[kind, name]
            others = [other for other, full in found if full == name]
            message = f"{name} is a {others[0]}, not a {kind}" if others else f"there is no {kind} {name!r}"
            advice = self._all(kind)
        elif slash:
            installed = ", ".join(sorted(self.entries)) or "none"
            message = f"no plugin namespace {namespace!r} is installed (installed: {installed})"
            advice = "pip install the package that brings it"
        else:
            message, advice = f"{name!r} is not a plugin name: write namespace/name", self._all(kind)
        near = self._near(kind, name)
        raise UnknownPlugin(message, f"did you mean {' or '.join(near)}?" if near else advice)

    def namespace(self, namespace: str) -> dict[tuple[str, str], Found]:
        """The plugins of one namespace, keyed by (kind, full name). Imports its module. Raises PluginError."""
        if namespace not in self._loaded:
            entry, *others = self.entries[namespace]
            if others:
                rivals = " and ".join(_distribution(other)[0] for other in (entry, *others))
                raise PluginError(f"plugin namespace {namespace!r} is claimed by {rivals}: uninstall all but one")
            self._loaded[namespace] = _read(entry)
        return self._loaded[namespace]

    def installed(self) -> tuple[list[Found], dict[str, PluginError]]:
        """Every plugin, and for each namespace that can't be read, why. Imports all plugin modules."""
        plugins: list[Found] = []
        broken: dict[str, PluginError] = {}
        for namespace in sorted(self.entries):
            try:
                plugins += self.namespace(namespace).values()
            except PluginError as error:
                broken[namespace] = error
        return plugins, broken

    def find_target(self, target: type) -> Found | None:
        """The plugin whose target is this class, or None. Used to write a flow built in Python as a spec."""
        return self._targets.get(f"{target.__module__}:{target.__qualname__}")

    @cached_property
    def _targets(self) -> dict[str, Found]:
        return {found.descriptor.target: found for found in self.installed()[0]}

    def _all(self, kind: str) -> str:
        return f"{kind}s installed: {', '.join(self._names(kind)) or 'none'}"

    def _names(self, kind: str) -> list[str]:
        return [found.name for found in self.installed()[0] if found.kind == kind]

    def _near(self, kind: str, name: str) -> list[str]:
        """What may have been meant, of everything installed: only on the way to an error."""
        names = self._names(kind)
        by_last_part = [full for full in names if full.partition("/")[2] == name.rpartition("/")[2]]
        return by_last_part or difflib.get_close_matches(name, names, n=2, cutoff=0.5)


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("this process", "0")


def _read(entry: EntryPoint) -> dict[tuple[str, str], Found]:
    distribution, version = _distribution(entry)
    try:
        descriptors = list(_descriptors(entry))
    except Exception as error:
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        raise PluginError(f"plugin {entry.name!r} ({distribution} {version}, {entry.value}): {reason}") from error
    return {
        (kind, f"{entry.name}/{d.name}"): Found(f"{entry.name}/{d.name}", kind, d, distribution, version)
        for kind, d in descriptors
    }


def _descriptors(entry: EntryPoint) -> Iterator[tuple[str, Descriptor]]:
    """Import one plugin module and call its hooks, each plugin in a manager of its own so that none hides another."""
    manager = pluggy.PluginManager("flowkit")
    manager.add_hookspecs(hooks)
    manager.register(entry.load(), name=entry.name)
    manager.check_pending()  # a misspelt hook is an error, not a plugin without plugins
    seen: set[str] = set()
    for kind in CONFIG_BASES:
        for descriptor in [d for listed in getattr(manager.hook, hooks.HOOKS[kind])() for d in listed]:
            if not isinstance(descriptor, Descriptor):
                raise PluginError(f"{hooks.HOOKS[kind]} must return flowkit.plugin.Descriptor objects")
            descriptor.check(kind)
            if descriptor.name in seen:
                raise PluginError(f"the name {descriptor.name!r} is registered twice")
            seen.add(descriptor.name)
            yield kind, descriptor
