"""Defines plugins that were found, and their origins."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint
from typing import Any

from flowkit.errors import InstallationWarning
from flowkit.plugin.descriptor import Descriptor
from flowkit.plugin.failure import as_by_itself, guarded
from flowkit_nf import conflicts

METADATA = {"Name": "a distribution without a name", "Version": "unknown", "Summary": ""}
"""The keys of a distribution's metadata that are shown, and what stands for those that are missing."""


@dataclass(frozen=True)
class Origin:
    """The origin of a plugin: an installed distribution, or this process."""

    distribution: str
    version: str
    summary: str = ""

    def __str__(self) -> str:
        return self.distribution if self == IN_PROCESS else f"{self.distribution} {self.version}"

    @classmethod
    def of(cls, entry: EntryPoint) -> Origin:
        """Return the origin of an entry point."""
        return IN_PROCESS if entry.dist is None else cls.of_distribution(entry.dist)

    @classmethod
    def of_distribution(cls, distribution: Distribution) -> Origin:
        """Return the origin that a distribution's metadata tells. Any part of the metadata may be missing."""
        try:
            metadata = distribution.metadata
            return cls(*(metadata[key] or missing for key, missing in METADATA.items()))
        except Exception:  # damaged, or not UTF-8
            return cls(*METADATA.values())


IN_PROCESS = Origin("this process", "0", "registered with flowkit.register")


@dataclass(frozen=True)
class Found:
    """A plugin that can be used.

    Attributes:
        name: The full name, ``namespace/name``.
        kind: The name of its kind.
        descriptor: The plugin's own description.
        origin: The distribution that brings it, or this process.
        module: The plugin module; None for what this process registered itself.
    """

    name: str
    kind: str
    descriptor: Descriptor
    origin: Origin
    module: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"

    @property
    def distribution(self) -> str:
        return self.origin.distribution

    @property
    def version(self) -> str:
        return self.origin.version

    def load(self) -> Any:
        """Return the target class, which is imported outside of the caller's device context and inference mode.

        Raises:
            PluginError: If the import fails. The message names the plugin and its distribution.
        """
        with guarded(f"plugin {self}: its target {self.descriptor.place} can't be imported"), as_by_itself():
            return self.descriptor.load()


@cache
def warn_of_conflicts() -> None:
    """Warn (InstallationWarning), once in a process, of distributions that share files with flowkit's own."""
    for conflict in conflicts():
        warnings.warn(conflict, InstallationWarning, stacklevel=3)
