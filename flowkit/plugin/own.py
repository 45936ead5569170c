"""flowkit's own distribution, and others that get in its way: told by metadata alone, in a millisecond."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distributions

from flowkit.errors import InstallationWarning
from flowkit.plugin.policy import FIRST_PARTY

COMMAND = "flowkit.cli.main:main"
"""The entry point of the command, which flowkit's own distribution has."""

SHARED = {
    "flowkit": "another project, and brings a package `flowkit` too",
    "flowkit-runtime": f"part of {FIRST_PARTY}, and brings the same package `flowkit_runtime`",
}
"""The distributions that must not stand beside flowkit's own, and why."""


@cache
def warn_of_conflicts() -> None:
    """Warn (InstallationWarning), once in a process, of distributions that share files with flowkit's own."""
    for conflict in conflicts():
        warnings.warn(conflict, InstallationWarning, stacklevel=3)


def conflicts() -> Iterator[str]:
    """Yield what to say of each, naming what to uninstall. Nothing if flowkit itself is not installed."""
    own, _ = own_distribution()
    if own is None:
        return
    for name, why in SHARED.items():
        other = next(iter(distributions(name=name)), None)
        if other is not None:
            yield (
                f"{name} {other.version} is installed beside {FIRST_PARTY} {own.version}. It is {why}, so one has "
                f"overwritten files of the other: pip uninstall {name} {FIRST_PARTY}, then install {FIRST_PARTY} again"
            )


def own_distribution() -> tuple[Distribution | None, Distribution | None]:
    """Return flowkit's own distribution, and another of its name that stands before it on Python's path.

    importlib.metadata reads the first distribution of a name alone, so that the other hides flowkit's own plugins.
    Either may be None: flowkit need not be installed.
    """
    impostor = None
    for distribution in distributions(name=FIRST_PARTY):
        if _has_command(distribution):
            return distribution, impostor
        impostor = impostor or distribution
    return None, impostor


def is_called_as_own(distribution: Distribution) -> bool:
    """Return whether pip takes the distribution's name for that of flowkit's own."""
    return re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower() == FIRST_PARTY


def mistaken_for_own(impostor: Distribution) -> str:
    """Return what to say of a distribution that has the name of flowkit's own."""
    place = impostor.locate_file("")
    return f"another distribution in {place} calls itself {FIRST_PARTY}, and its plugins aren't used: uninstall it"


def _has_command(distribution: Distribution) -> bool:
    try:
        scripts = distribution.entry_points.select(group="console_scripts")
    except Exception:  # damaged, which is told where plugins are looked for
        return False
    return any(script.value == COMMAND for script in scripts)
