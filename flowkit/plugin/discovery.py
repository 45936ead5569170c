"""Reads the metadata of installed packages for entry points of plugins. Nothing of theirs is imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions

from flowkit.errors import PluginError
from flowkit.plugin.failure import reason
from flowkit.plugin.found import Origin
from flowkit.plugin.policy import FIRST_PARTY
from flowkit_nf import own_distribution

GROUP = "flowkit"
"""The entry-point group. An entry point's name is the namespace of the plugins in its module."""

Entries = tuple[Mapping[str, Sequence[EntryPoint]], Mapping[str, PluginError]]
"""The entry points by namespace, and errors for distributions whose entry points can't be read."""


def entry_points() -> Entries:
    """Return what is installed. Metadata is read again only if a directory on Python's path has changed."""
    return _read_entries(tuple(map(_state, sys.path)))


def _state(directory: str) -> Hashable:
    """Return what differs after something was installed in this directory, or removed from it."""
    try:
        found = os.stat(directory or os.curdir)
    except OSError:
        return directory
    return directory, found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=1)
def _read_entries(_: Hashable) -> Entries:
    """Read the metadata of all distributions, which takes longer than the rest of reading a spec."""
    own, impostor = own_distribution()
    entries: dict[str, list[EntryPoint]] = {}
    damaged: dict[str, PluginError] = {}
    taken: set[str] = set()
    if impostor is not None:
        what = f"another distribution in {impostor.locate_file('')} calls itself {FIRST_PARTY}"
        damaged[FIRST_PARTY] = PluginError(f"{what}, and its plugins aren't used: uninstall it")
    for distribution in distributions():
        try:
            found = distribution.entry_points.select(group=GROUP)
        except Exception as error:
            origin = Origin.of_distribution(distribution)
            message = f"the entry points of {origin} can't be read ({reason(error)}): install it again"
            damaged[origin.distribution] = PluginError(message)
            continue
        if found and (name := _pip_name(distribution)) not in taken and not _is_hidden(distribution, name, own):
            taken.add(name)  # it comes again if its directory is on Python's path twice
            for entry in found:
                entries.setdefault(entry.name, []).append(entry)
    return entries, damaged


def _pip_name(distribution: Distribution) -> str:
    """Return the name as pip reads names."""
    return re.sub(r"[-_.]+", "-", Origin.of_distribution(distribution).distribution).lower()


def _is_hidden(distribution: Distribution, name: str, own: Distribution | None) -> bool:
    """Return True if another distribution has this name, and stands before it on Python's path.

    Our own is told by its command instead.
    """
    first = own if name == FIRST_PARTY else next(iter(distributions(name=name)), None)
    return first is not None and first.locate_file("") != distribution.locate_file("")
