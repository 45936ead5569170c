"""Writes files and directories as a whole or not at all, and locks files between processes.

New content is written to a hidden directory beside its place, ``.NAME.TOKEN.part``, and moved from there. A lock in
that directory tells other processes that its process is alive. Directories of killed processes are removed by the next
process that writes to the same place.
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

_TOKEN = 4  # random bytes in the names of work directories
_LOCK = "lock"  # the lock file in a work directory
_TRIES = 100  # to lock a file that its holder has just removed
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # raised by file systems that can't lock


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock on the file ``path``, which is created for it and removed at the end.

    The lock ends with its process, so a file that a killed process leaves has no effect. A symbolic link at ``path`` is
    removed first. Yields True, or False if the file system can't lock files, as some network file systems; then no
    other process is kept out. Raises BlockingIOError if another process holds the lock.
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
        with suppress(PermissionError):  # Windows can't remove open files; there filelock removes it
            path.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    held = BlockingIOError(errno.EWOULDBLOCK, "another process holds it", os.fspath(path))
    for _ in range(_TRIES):
        try:
            lock.acquire(blocking=False)
            return
        except Timeout:
            if path.exists():  # otherwise its holder has just removed it
                raise held from None
    path.touch()  # filelock doesn't say why it can't create the file: this does
    raise held


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new, empty file of the same name to write to. It replaces ``path`` if nothing is raised.

    If several processes write to one path, each writes a file of its own, and the last one to end wins. Links are not
    followed: if ``path`` is a link, the link itself is replaced. An OSError names ``path``.
    """
    with naming(path):
        make_parent(path)
        _sweep(path.parent, path.name)
        with _work(path.parent, path.name) as work:
            new = work / path.name
            new.touch()
            yield new
            os.replace(new, path)


def replace_text(path: Path, text: str) -> None:
    """Write a text file as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def making(directory: Path, last: str = "", overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory to fill. It becomes ``directory`` if nothing is raised.

    An existing directory is normally replaced as a whole. If it is empty, a mount point, or contains the working
    directory, it is kept, and its entries are replaced one by one, the entry named ``last`` at the end. Links are
    followed. If the replacement fails, the previous content is restored. Raises FileExistsError if ``overwrite`` is
    False and the directory isn't empty, or if another process has filled it when the block ends.
    """
    if not (overwrite or is_free(directory)):
        raise FileExistsError(f"{directory} exists and is not empty")
    place = directory.resolve()  # resolved, because `.` has no name
    stays = place.exists() and (is_free(place) or place.is_mount() or Path.cwd().is_relative_to(place))
    beside = place if stays else next(path for path in place.parents if path.exists())  # on the same file system
    for directory in (place, *place.parents):  # the parent may not have existed before
        _sweep(directory, place.name)
    with _work(beside, place.name) as work:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if not (overwrite or is_free(place)):
            raise FileExistsError(errno.EEXIST, "another process has made something there meanwhile", os.fspath(place))
        _move(_entries(place, new, old, last) if stays else _whole(place, new, old))
        shutil.rmtree(old, ignore_errors=True)
        _sweep(beside, place.name, superseded=True)


def is_free(directory: Path) -> bool:
    """Return True if nothing exists at this path, not even a broken link, or if it is an empty directory."""
    return not os.path.lexists(directory) or (directory.is_dir() and not contents(directory))


def contents(directory: Path) -> list[Path]:
    """List a directory, without the work directories of running or killed processes."""
    return [entry for entry in directory.iterdir() if entry.suffix != ".part"]


def make_parent(path: Path) -> None:
    """Create the directory that contains this file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # it exists and is no directory
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path.parent)) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an OSError that is raised inside the block name ``path``, the file that the user asked for."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # numpy's, which says only how many values it has written
            error.strerror = f"not all could be written ({error}): the disk may be full"
        error.filename = os.fspath(path)
        del error.filename2  # set to None, it would be printed: `path -> None`
        raise


@contextmanager
def _work(beside: Path, name: str) -> Iterator[Path]:
    """Yield a new work directory, and remove it at the end. It is locked, so that other processes don't remove it."""
    with ExitStack() as stack:
        work = _begin(beside, name, stack)
        try:
            yield work
        finally:
            if _holds_old(work):  # the only copy, if it couldn't be restored
                shutil.rmtree(work / "new", ignore_errors=True)
            else:
                shutil.rmtree(work, ignore_errors=True)


def _begin(beside: Path, name: str, stack: ExitStack) -> Path:
    while True:
        work = beside / f".{name}.{token_hex(_TOKEN)}.part"
        work.mkdir(mode=0o700)
        with suppress(FileNotFoundError, BlockingIOError):  # another process has just removed it
            stack.enter_context(locked(work / _LOCK))
            return work


def _sweep(beside: Path, name: str, superseded: bool = False) -> None:
    """Remove the work directories of killed processes, and links with such names.

    A work directory that holds the only copy of overwritten content is kept, unless ``superseded`` says that the new
    content is in place.
    """
    for stale in beside.glob(f"{escape(f'.{name}.')}{'[0-9a-f]' * 2 * _TOKEN}.part"):
        with suppress(OSError):
            if stale.is_symlink():
                stale.unlink()
                continue
            with locked(stale / _LOCK) as alone:  # without locks, live processes can't be told from dead ones
                if alone and (superseded or not _holds_old(stale)):
                    shutil.rmtree(stale, ignore_errors=True)


def _holds_old(work: Path) -> bool:
    return (work / "old").exists() and any((work / "old").iterdir())


_Moves = Sequence[tuple[Path, Path]]  # (source, target)


def _whole(place: Path, new: Path, old: Path) -> _Moves:
    place.parent.mkdir(parents=True, exist_ok=True)
    return [(place, old), (new, place)] if place.exists() else [(new, place)]


def _entries(place: Path, new: Path, old: Path, last: str) -> _Moves:
    old.mkdir()
    after = sorted(new.iterdir(), key=lambda entry: entry.name == last)
    return [(entry, old / entry.name) for entry in contents(place)] + [(entry, place / entry.name) for entry in after]


def _move(moves: _Moves) -> None:
    """Rename the files one after another. If a rename fails, undo the previous ones."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise
