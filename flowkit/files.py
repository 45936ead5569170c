"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import IO

from flowkit_runtime import locking
from flowkit_runtime.replacing import replacing as replacing

_TOKEN = 4  # bytes, by which the work directories of one place differ
_LOCK = "lock"  # in a work directory: locked while its process lives


def is_free(directory: Path) -> bool:
    """Return True if nothing is there, not even a link to nothing, or a directory without contents."""
    return not os.path.lexists(directory) or (directory.is_dir() and not contents(directory))


def contents(directory: Path) -> list[Path]:
    """What lies in a directory, but for the work of commands that still run, or were killed."""
    return [entry for entry in directory.iterdir() if entry.suffix != ".part"]


@contextmanager
def making(directory: Path, last: str = "", overwrite: bool = False) -> Iterator[Path]:
    """An empty directory to fill; it becomes ``directory`` if nothing is raised.

    One that is there and empty, or a mount point, or around the working directory, stays and is filled, with the entry
    of the name ``last`` at last; another takes the place of what is to be overwritten as a whole. Links are followed.
    What was there comes back if that fails. What killed processes left of such work is removed. Raises FileExistsError
    if there is anything, and ``overwrite`` is not set.
    """
    if not (overwrite or is_free(directory)):
        raise FileExistsError(f"{directory} exists and is not empty")
    place = directory.resolve()  # `.` has no name
    stays = place.exists() and (is_free(place) or place.is_mount() or Path.cwd().is_relative_to(place))
    beside = place if stays else next(path for path in place.parents if path.exists())  # of the same file system
    for directory in (place, *place.parents):  # the parent may not have been there yet
        _sweep(directory, place.name)
    work, lock = _create(beside, place.name)
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        yield new
        _move(_entries(place, new, old, last) if stays else _whole(place, new, old))
        shutil.rmtree(old, ignore_errors=True)
        _sweep(beside, place.name, superseded=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        locking.remove(work / _LOCK, lock)
        if not _holds_old(work):  # the only copy, if it could not be brought back
            shutil.rmtree(work, ignore_errors=True)


def _create(beside: Path, name: str) -> tuple[Path, IO[bytes]]:
    """A new work directory and its open lock file, by which other processes see that it is in use."""
    while True:
        work = beside / f".{name}.{token_hex(_TOKEN)}.part"
        work.mkdir(mode=0o700)
        with suppress(FileNotFoundError, BlockingIOError):  # another process has just swept it
            return work, locking.open_alone(work / _LOCK, os.O_CREAT)


def _sweep(beside: Path, name: str, superseded: bool = False) -> None:
    """Remove work directories that killed processes left.

    One that holds the only copy of what was to be overwritten stays, until ``superseded`` says that the new one is in
    its place.
    """
    for stale in beside.glob(f"{escape(f'.{name}.')}{'[0-9a-f]' * 2 * _TOKEN}.part"):
        with suppress(OSError), locking.open_alone(stale / _LOCK, os.O_CREAT) as file:
            if locking.lock(file) and (superseded or not _holds_old(stale)):  # without locks nobody knows who lives
                shutil.rmtree(stale, ignore_errors=True)


def _holds_old(work: Path) -> bool:
    return (work / "old").exists() and any((work / "old").iterdir())


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
