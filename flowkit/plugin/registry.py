"""Looks plugin names up. Discovery reads package metadata only; a plugin's module is imported when it is named."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint

import pluggy

from flowkit.errors import PluginError
from flowkit.plugin.discovery import entry_points
from flowkit.plugin.found import IN_PROCESS, Found, Origin, warn_of_conflicts
from flowkit.plugin.loading import Plugins, load_plugins, new_manager
from flowkit.plugin.policy import FIRST_PARTY, HOW_TO_ALLOW, Policy
from flowkit.plugin.spelling import did_you_mean, with_article

BRING = "pip install the package that brings it; what flowkit.register registers is known to that process alone"
"""The advice for a namespace that isn't there. A run may name one, if it is loaded where a plugin is missing."""

MAX_LISTED = 200
"""The most characters of names that a message lists."""

REGISTERED: dict[str, Found] = {}
"""The plugins that this process has registered itself, by full name: see flowkit.register."""


MIN_PART = 4
"""The fewest letters of a name that are sought within other names."""


class UnknownPlugin(PluginError):
    """Raised for a name that can't be used. Names that can be are searched only on request, because that takes long."""

    def __init__(self, message: str, advise: Callable[[], str]):
        super().__init__(message)
        self.message, self._advise = message, advise

    def suggestion(self) -> str:
        """Return the names that may have been meant, or what to do."""
        return self._advise()

    def __str__(self) -> str:
        return f"{self.message}; {self.suggestion()}"


@dataclass(frozen=True)
class Claim:
    """A namespace, and one that brings plugins for it: ``denied_by`` an option, or in conflict with ``rivals``."""

    namespace: str
    origin: Origin
    entry: EntryPoint | None = None
    denied_by: str | None = None
    rivals: tuple[Origin, ...] = ()

    @property
    def state(self) -> str:
        """The state in words, as far as metadata tells."""
        if self.denied_by:
            return f"denied by {self.denied_by}"
        return f"collides with {' and '.join(map(str, self.rivals))}" if self.rivals else "available"


@dataclass
class Registry:
    """The plugins that specs can name.

    Attributes:
        entries: The entry points by namespace.
        policy: The conditions that plugins must meet.
        registered: The plugins that were registered in this process, by full name.
        damaged: The distributions that may bring plugins, but whose entry points can't be read, with the errors.

    Examples:
        >>> from flowkit.plugin import Registry
        >>> found = Registry.discover().look_up("bijector", "glow/actnorm")
        >>> found.descriptor.target
        'flowkit_glow.actnorm:ActNorm'
    """

    entries: dict[str, list[EntryPoint]] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    registered: dict[str, Found] = field(default_factory=dict)
    damaged: dict[str, PluginError] = field(default_factory=dict)
    _loaded: dict[str, Plugins | PluginError] = field(default_factory=dict, repr=False)
    _claims: dict[str, list[Claim]] = field(default_factory=dict, repr=False)
    _manager: pluggy.PluginManager = field(default_factory=new_manager, repr=False, compare=False)

    @classmethod
    def discover(cls, policy: Policy | None = None) -> Registry:
        """Return all plugins that are installed or registered here. Nothing is imported, unless the policy is strict.

        Args:
            policy: The conditions for plugins, by default those of the environment (see ``Policy.from_environment``).

        Raises:
            PluginError: If the policy is strict and an installed plugin can't be used.
        """
        warn_of_conflicts()
        policy = policy or Policy.from_environment()
        installed, unreadable = entry_points()
        entries = {name: list(found) for name, found in installed.items()}
        damaged = {name: error for name, error in unreadable.items() if not policy.denied_by("", name)}
        registry = cls(entries, policy, dict(REGISTERED), damaged)
        if registry.policy.strict:
            _, broken = registry.load_all()
            if broken:
                raise PluginError("\n".join(["plugins that can't be used, with --strict:", *map(str, broken.values())]))
        return registry

    @property
    def namespaces(self) -> list[str]:
        """All namespaces that are claimed, in order."""
        return sorted({*self.entries, *map(_namespace_of, self.registered)})

    def claims(self, namespace: str) -> list[Claim]:
        """Return the claims on a namespace, denied ones too. Metadata is read once; nothing is imported.

        Args:
            namespace: The namespace, such as ``"glow"``.
        """
        if namespace not in self._claims:
            self._claims[namespace] = self._read_claims(namespace)
        return self._claims[namespace]

    def _read_claims(self, namespace: str) -> list[Claim]:
        claims = []
        for entry in self.entries.get(namespace, []):
            origin = Origin.of(entry)
            denied_by = self.policy.denied_by(namespace, origin.distribution)
            claims.append(Claim(namespace, origin, entry, denied_by))
        if any(_namespace_of(name) == namespace for name in self.registered):
            claims.append(Claim(namespace, IN_PROCESS))
        admitted = [claim for claim in claims if not claim.denied_by]
        return [
            replace(claim, rivals=tuple(other.origin for other in admitted if other is not claim)) for claim in claims
        ]

    def look_up(self, kind: str | None, name: str) -> Found:
        """Return a plugin. The module that registers it is imported; its target isn't.

        Args:
            kind: The name of the kind that it must have, or None for any.
            name: The full name, ``namespace/name``.

        Raises:
            UnknownPlugin: If there is none, it is of another kind, or it is denied.
            PluginError: If the plugin module is broken.
        """
        namespace, slash, _ = name.partition("/")
        advise = partial(self._advice, kind, name)
        if not slash:
            raise UnknownPlugin(f"{name!r} is not a plugin name: write namespace/name", advise)
        if namespace not in self.namespaces:
            raise UnknownPlugin(self._not_installed(namespace), advise)
        found = self.plugins_of(namespace).get(name)
        if found is None:
            raise UnknownPlugin(f"there is no {kind or 'plugin'} {name!r}", advise)
        if kind not in (None, found.kind):
            raise UnknownPlugin(
                f"{name} is {with_article(found.kind)}, not {with_article(kind)}", partial(self._list_names, kind)
            )
        return found

    def plugins_of(self, namespace: str) -> Plugins:
        """Return the plugins of a namespace by full name. Its module is imported once.

        Args:
            namespace: The namespace, such as ``"glow"``.

        Raises:
            UnknownPlugin: If no distribution brings it, or it is denied.
            PluginError: If the plugin module is broken, or several distributions claim the namespace.
        """
        if namespace not in self.namespaces:
            raise UnknownPlugin(self._not_installed(namespace), lambda: self._alike(namespace) or BRING)
        if namespace not in self._loaded:
            try:
                self._loaded[namespace] = self._load(namespace)
            except PluginError as error:
                self._loaded[namespace] = error
        loaded = self._loaded[namespace]
        if isinstance(loaded, PluginError):
            raise loaded.with_traceback(None)
        return loaded

    def _load(self, namespace: str) -> Plugins:
        claims = self.claims(namespace)
        admitted = [claim for claim in claims if not claim.denied_by]
        if not admitted:
            denied, option = claims[0], str(claims[0].denied_by)
            message = f"plugin namespace {namespace!r} ({denied.origin}) is denied by {option}"
            raise UnknownPlugin(message, lambda: HOW_TO_ALLOW[option])
        claim = admitted[0]
        if claim.rivals:
            names = " and ".join(dict.fromkeys(str(each.origin) for each in admitted))
            if all(each.origin == claim.origin for each in admitted):
                raise PluginError(f"plugin namespace {namespace!r} is twice in the entry points of {names}: keep one")
            raise PluginError(f"plugin namespace {namespace!r} is claimed by {names}: uninstall all but one")
        if claim.entry is not None:
            return load_plugins(claim.entry, claim.origin, self._manager)
        return {name: each for name, each in self.registered.items() if _namespace_of(name) == namespace}

    def load_all(self) -> tuple[list[Found], dict[str, PluginError]]:
        """Import all plugin modules.

        Returns:
            Every plugin that is let in, and an error for each namespace or distribution that can't be read.
        """
        plugins: list[Found] = []
        broken = dict(self.damaged)
        for namespace in self.namespaces:
            try:
                plugins += self.plugins_of(namespace).values()
            except UnknownPlugin:  # denied, which is no fault of its own
                continue
            except PluginError as error:
                broken[namespace] = error
        return plugins, broken

    def find_target(self, target: type) -> Found | None:
        """Return the plugin whose target is this class, or None. It serves to write a flow built in Python as a spec.

        Plugin modules are imported until it is found: the one of the same package first, then flowkit's own.

        Args:
            target: The class of a layer.
        """
        wanted = (target, f"{target.__module__}:{target.__qualname__}")
        for namespace in sorted(self.namespaces, key=lambda each: self._distance(each, target)):
            with suppress(PluginError):
                for found in self.plugins_of(namespace).values():
                    if found.descriptor.target in wanted:
                        return found
        return None

    def _distance(self, namespace: str, target: type) -> int:
        claims = self.claims(namespace)
        packages = [claim.entry.value.partition(".")[0] for claim in claims if claim.entry]
        if not packages or target.__module__.partition(".")[0] in packages:
            return 0
        return 1 if any(claim.origin.distribution == FIRST_PARTY for claim in claims) else 2

    def _not_installed(self, namespace: str) -> str:
        said = f"no plugin namespace {namespace!r} is installed (installed: {_listed(self.namespaces)})"
        return "; ".join([said, *map(str, self.damaged.values())])  # it may be one of these

    def _names(self, kind: str | None, namespaces: Iterable[str]) -> list[str]:
        names: list[str] = []
        for namespace in namespaces:
            with suppress(PluginError):
                names += [each.name for each in self.plugins_of(namespace).values() if kind in (None, each.kind)]
        return names

    def _alike(self, namespace: str) -> str | None:
        """Suggest the namespaces that may have been meant."""
        alike = difflib.get_close_matches(namespace, self.namespaces)
        return did_you_mean(alike) if alike else None

    def _advice(self, kind: str | None, name: str) -> str:
        """Suggest names in similar namespaces, then list those of its own and suggest names in all namespaces."""
        namespace, slash, _ = name.partition("/")
        if near := near_names(self, kind, name, difflib.get_close_matches(namespace, self.namespaces)):
            return did_you_mean(near)
        if slash and namespace not in self.namespaces:
            return f"{BRING}; {self._list_names(kind)}"
        own, elsewhere = self._names(kind, [namespace]), near_names(self, kind, name, self.namespaces)
        listed = [f"{kind or 'plugin'}s of the namespace {namespace}: {_listed(own)}"] if own else []
        asked = [did_you_mean(elsewhere)] if elsewhere else []
        return "; ".join([*listed, *asked]) or self._list_names(kind)

    def _list_names(self, kind: str | None) -> str:
        """List the names that are installed."""
        return f"{kind or 'plugin'}s installed: {_listed(self._names(kind, self.namespaces))}"


def near_names(registry: Registry, kind: str | None, name: str, namespaces: Iterable[str]) -> list[str]:
    """Return the names of plugins in these namespaces that ``name`` may have meant."""
    ends = {full: _plain(full) for full in registry._names(kind, namespaces)}
    wanted = _plain(name)
    near = [wanted] if wanted in ends.values() else _close(wanted, ends.values())
    return [full for end in dict.fromkeys(near) for full in ends if ends[full] == end]


def _namespace_of(name: str) -> str:
    return name.partition("/")[0]


def _plain(name: str) -> str:
    """Return the last part of a plugin's name, or of a class's, as one would spell it from memory."""
    return re.sub("[-_ ]", "", re.split("[/.:]", name)[-1]).lower()


def _close(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the one or two names that are spelled most like ``wanted``, or have it as a part."""
    options = list(names)
    near = difflib.get_close_matches(wanted, options, n=2, cutoff=0.8)
    holding = [name for name in options if len(wanted) >= MIN_PART and wanted in name]
    return near or holding[:2] or difflib.get_close_matches(wanted, options, n=2, cutoff=0.65)


def _listed(names: Iterable[str]) -> str:
    """Return names for a message, at most a line of them."""
    text = ", ".join(names) or "none"
    return text if len(text) <= MAX_LISTED else f"{text[:MAX_LISTED].rpartition(', ')[0]}, …"
