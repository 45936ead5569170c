"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowkit_runtime.replacing import replacing as replacing


def is_free(directory: Path) -> bool:
    """Whether nothing is there, not even a link to nothing, or an empty directory."""
    return not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir()))


def contents(directory: Path) -> list[Path]:
    """What lies in a directory, but for the work of commands that still run, or were killed."""
    return [entry for entry in directory.iterdir() if entry.suffix != ".part"]


@contextmanager
def making(directory: Path, last: str = "", overwrite: bool = False) -> Iterator[Path]:
    """An empty directory to fill; it becomes ``directory`` if nothing is raised.

    One that is there and empty, or a mount point, or around the working directory, stays and is filled, with the entry
    of the name ``last`` at last; another takes the place of what is to be overwritten as a whole. Links are followed.
    What was there comes back if that fails. Raises FileExistsError if there is anything, and ``overwrite`` is not set.
    """
    if not (overwrite or is_free(directory)):
        raise FileExistsError(f"{directory} exists and is not empty")
    place = directory.resolve()  # `.` has no name
    stays = place.exists() and (is_free(place) or place.is_mount() or Path.cwd().is_relative_to(place))
    beside = next(path for path in place.parents if path.exists()) if not stays else place  # of the same file system
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=beside))
    new, old = work / "new", work / "old"
    new.mkdir()
    try:
        yield new
        _move(_entries(place, new, old, last) if stays else _whole(place, new, old))
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if not (old.exists() and any(old.iterdir())):  # the only copy, if it could not be brought back
            shutil.rmtree(work, ignore_errors=True)


Moves = Sequence[tuple[Path, Path]]
"""From where, to where."""


def _whole(place: Path, new: Path, old: Path) -> Moves:
    place.parent.mkdir(parents=True, exist_ok=True)
    return [(place, old), (new, place)] if place.exists() else [(new, place)]


def _entries(place: Path, new: Path, old: Path, last: str) -> Moves:
    old.mkdir()
    after = sorted(new.iterdir(), key=lambda entry: entry.name == last)
    return [(entry, old / entry.name) for entry in contents(place)] + [(entry, place / entry.name) for entry in after]


def _move(moves: Moves) -> None:
    """One after another; if one fails, those before it are taken back."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise
