"""lock.json of a run: the versions of the plugins that built it, compared with those installed here."""

from __future__ import annotations

import os
import re
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flowkit.errors import RunError, VersionWarning
from flowkit_runtime.errors import shortened
from flowkit_runtime.files import read_json

LOCK = "lock.json"
DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def check_lock(directory: Path) -> None:
    """Raises RunError if a distribution that the run needs is missing, warns (VersionWarning) where one is of
    another version, apart from the last number of 1.2.3. A run without a lock passes."""
    if not os.path.lexists(directory / LOCK):
        return
    for name, then in _read(directory / LOCK).items():
        made_with = f"{shortened(name)} {shortened(then)}"
        try:
            now = version(name)
        except PackageNotFoundError as error:
            raise RunError(f"{directory} was made with the plugins of {made_with}, which isn't installed") from error
        if now.split(".")[:2] != then.split(".")[:2]:
            message = f"{directory} was made with {made_with}; {now} is installed, and may compute something else"
            warnings.warn(message, VersionWarning, stacklevel=4)


def _read(path: Path) -> dict[str, str]:
    """{distribution: version}, without plugins that were registered in a process."""
    try:
        plugins = read_json(path)["plugins"]
        if not all(isinstance(each, str) for each in plugins.values()):
            raise ValueError("a version is not text")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{path} can't be read ({error}): a lock names distributions and their versions") from error
    return {name: number for name, number in plugins.items() if DISTRIBUTION.fullmatch(name)}
