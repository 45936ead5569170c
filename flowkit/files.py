"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flowkit_runtime.replacing import replacing as replacing


def is_free(directory: Path) -> bool:
    """Whether nothing is there, not even a link to nothing, or an empty directory."""
    return not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir()))


@contextmanager
def making(directory: Path, last: str = "", overwrite: bool = False) -> Iterator[Path]:
    """An empty directory to fill; it becomes ``directory`` if nothing is raised.

    One that is there, which may be a mount point, somebody's working directory or behind a link, stays and is filled,
    the entry named ``last`` last. Under ``overwrite`` that replaces what it held; otherwise raises FileExistsError if
    anything but an empty directory is there.
    """
    if not (overwrite or is_free(directory)):
        raise FileExistsError(f"{directory} exists and is not empty")
    place = directory.resolve()  # `.` has no name
    around = next(path for path in (place, *place.parents) if path.exists())  # of the same file system
    before = list(place.iterdir()) if place == around else []
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=around))
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if place == around:
            old.mkdir()
            _exchange(place, before, new, old, last)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            new.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _exchange(place: Path, before: Iterable[Path], new: Path, old: Path, last: str) -> None:
    """Fill ``place`` from ``new``, and move what was there ``before`` to ``old``; it comes back if that fails."""
    try:
        for entry in before:
            entry.rename(old / entry.name)
        for entry in sorted(new.iterdir(), key=lambda entry: entry.name == last):
            entry.rename(place / entry.name)
    except BaseException:
        for entry in old.iterdir():
            entry.rename(place / entry.name)
        raise
