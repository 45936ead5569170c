"""What to say of distributions that get in the way of flowkit's own. Their metadata tells, in a millisecond."""

from __future__ import annotations

import re
import warnings
from functools import cache
from importlib.metadata import Distribution

from flowkit.errors import InstallationWarning
from flowkit_nf import DISTRIBUTION, conflicts


@cache
def warn_of_conflicts() -> None:
    """Warn (InstallationWarning), once in a process, of distributions that share files with flowkit's own."""
    for conflict in conflicts():
        warnings.warn(conflict, InstallationWarning, stacklevel=3)


def is_called_as_own(distribution: Distribution) -> bool:
    """Return whether pip takes the distribution's name for that of flowkit's own."""
    return re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower() == DISTRIBUTION


def mistaken_for_own(impostor: Distribution) -> str:
    """Return what to say of a distribution that has the name of flowkit's own."""
    place = impostor.locate_file("")
    return f"another distribution in {place} calls itself {DISTRIBUTION}, and its plugins aren't used: uninstall it"
