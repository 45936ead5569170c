"""Describes the distribution flowkit-nf, and finds distributions that must not be installed beside it.

This is not in the package `flowkit`, because another project brings a package of that name. If it is installed
after this one it overwrites `flowkit/__init__.py`, and nothing in `flowkit` could say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

DISTRIBUTION = "flowkit-nf"

COMMAND = "flowkit_nf.command:main"
"""The entry point of the command, by which this distribution is told from others of its name."""

SHARED = {
    "flowkit": "another project, and brings a package `flowkit` too",
    "flowkit-runtime": f"part of {DISTRIBUTION}, and brings the same package `flowkit_runtime`",
}
"""The distributions that bring files of this one, and why."""


def conflicts() -> Iterator[str]:
    """Yield a message for each distribution that shares files with this one. There is none if this isn't installed."""
    own, _ = own_distribution()
    if own is None:
        return
    for name, why in SHARED.items():
        other = next(iter(distributions(name=name)), None)
        if other is not None:
            yield (
                f"{name} {other.version} is installed beside {DISTRIBUTION} {own.version}. It is {why}, so one has "
                f"overwritten files of the other: pip uninstall {name} {DISTRIBUTION}, then install "
                f"{DISTRIBUTION} again"
            )


def own_distribution() -> tuple[Distribution | None, Distribution | None]:
    """Return this distribution, and another of its name that stands before it on Python's path.

    importlib.metadata reads the first distribution of a name alone, so that the other hides flowkit's own plugins.
    Either may be None: flowkit need not be installed.
    """
    impostor = None
    for distribution in distributions(name=DISTRIBUTION):
        if _has_command(distribution):
            return distribution, impostor
        impostor = impostor or distribution
    return None, impostor


def _has_command(distribution: Distribution) -> bool:
    try:
        scripts = distribution.entry_points.select(group="console_scripts")
    except Exception:  # damaged, which is told where plugins are looked for
        return False
    return any(script.value == COMMAND for script in scripts)
