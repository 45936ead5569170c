"""Files and directories that are written whole or not at all, and locks between processes.

Both are filled in a hidden directory beside their place, ``.NAME.TOKEN.part``, and moved from there. A lock in it tells
other processes that its process lives; what killed ones left is removed by the next one that writes to the same place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

_TOKEN = 4  # bytes, by which the work directories of one place differ
_LOCK = "lock"  # in a work directory
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system that can't lock


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path``, which is made for it and removed at the end, or when this process ends.

    A link under that name is removed. Yields False, and keeps nobody out, where files can't be locked, as on some
    network file systems. Raises BlockingIOError if another process holds the lock.
    """
    if path.is_symlink():
        path.unlink(missing_ok=True)
    lock = FileLock(path)
    try:
        _acquire(lock, path)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield lock.is_locked
    finally:
        with suppress(PermissionError):  # Windows removes closed files only, which filelock does
            path.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    while not lock.is_locked:
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            if path.exists():  # otherwise who held it has just removed it
                raise BlockingIOError(errno.EWOULDBLOCK, "another process holds it", os.fspath(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new, empty file of the same name to write to; it takes the place of ``path`` if nothing is raised.

    Of several that write to one path each has a file of its own, and the last to end replaces those before it.
    Links are not followed: where ``path`` is one, it is the link that is replaced. An OSError names ``path``.
    """
    with naming(path):
        make_parent(path)
        _sweep(path.parent, path.name)
        with _work(path.parent, path.name) as work:
            new = work / path.name
            new.touch()
            yield new
            os.replace(new, path)


@contextmanager
def making(directory: Path, last: str = "", overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory to fill; it becomes ``directory`` if nothing is raised.

    One that is there and empty, or a mount point, or around the working directory, stays and is filled, with the entry
    of the name ``last`` at last; another takes the place of what is to be overwritten as a whole. Links are followed.
    What was there comes back if that fails. Raises FileExistsError if there is anything, and ``overwrite`` is not set.
    """
    if not (overwrite or is_free(directory)):
        raise FileExistsError(f"{directory} exists and is not empty")
    place = directory.resolve()  # `.` has no name
    stays = place.exists() and (is_free(place) or place.is_mount() or Path.cwd().is_relative_to(place))
    beside = place if stays else next(path for path in place.parents if path.exists())  # of the same file system
    for directory in (place, *place.parents):  # the parent may not have been there yet
        _sweep(directory, place.name)
    with _work(beside, place.name) as work:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        _move(_entries(place, new, old, last) if stays else _whole(place, new, old))
        shutil.rmtree(old, ignore_errors=True)
        _sweep(beside, place.name, superseded=True)


def is_free(directory: Path) -> bool:
    """Return True if nothing is there, not even a link to nothing, or a directory without contents."""
    return not os.path.lexists(directory) or (directory.is_dir() and not contents(directory))


def contents(directory: Path) -> list[Path]:
    """List a directory, without the work of commands that still run or were killed."""
    return [entry for entry in directory.iterdir() if entry.suffix != ".part"]


def make_parent(path: Path) -> None:
    """Make the directory that a file is to lie in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # and no directory
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path.parent)) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that is raised within name ``path``, the file that the user asked for."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


@contextmanager
def _work(beside: Path, name: str) -> Iterator[Path]:
    """Yield a new work directory, locked so that nobody sweeps it; at the end it is removed."""
    with ExitStack() as stack:
        work = _begin(beside, name, stack)
        try:
            yield work
        finally:
            if _holds_old(work):  # the only copy, if it could not be brought back
                shutil.rmtree(work / "new", ignore_errors=True)
            else:
                shutil.rmtree(work, ignore_errors=True)


def _begin(beside: Path, name: str, stack: ExitStack) -> Path:
    while True:
        work = beside / f".{name}.{token_hex(_TOKEN)}.part"
        work.mkdir(mode=0o700)
        with suppress(FileNotFoundError, BlockingIOError):  # another process has just swept it
            stack.enter_context(locked(work / _LOCK))
            return work


def _sweep(beside: Path, name: str, superseded: bool = False) -> None:
    """Remove work directories that killed processes left, and links under such names.

    One that holds the only copy of what was to be overwritten stays, until ``superseded`` says that the new one is in
    its place.
    """
    for stale in beside.glob(f"{escape(f'.{name}.')}{'[0-9a-f]' * 2 * _TOKEN}.part"):
        with suppress(OSError):
            if stale.is_symlink():
                stale.unlink()
                continue
            with locked(stale / _LOCK) as alone:  # without locks nobody knows who lives
                if alone and (superseded or not _holds_old(stale)):
                    shutil.rmtree(stale, ignore_errors=True)


def _holds_old(work: Path) -> bool:
    return (work / "old").exists() and any((work / "old").iterdir())


_Moves = Sequence[tuple[Path, Path]]  # from where, to where


def _whole(place: Path, new: Path, old: Path) -> _Moves:
    place.parent.mkdir(parents=True, exist_ok=True)
    return [(place, old), (new, place)] if place.exists() else [(new, place)]


def _entries(place: Path, new: Path, old: Path, last: str) -> _Moves:
    old.mkdir()
    after = sorted(new.iterdir(), key=lambda entry: entry.name == last)
    return [(entry, old / entry.name) for entry in contents(place)] + [(entry, place / entry.name) for entry in after]


def _move(moves: _Moves) -> None:
    """Rename one after another; if one fails, those before it are taken back."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise
