"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import IO

from flowkit_runtime import locking

_TOKEN = 4  # bytes, by which the temporary files of one path differ


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file of the same suffix to write to; it takes the place of ``path`` if nothing is raised.

    Of several that write to one path each has a file of its own, and the last to end replaces those before it.
    Links are not followed: where ``path`` is one, it is the link that is replaced. An OSError names ``path``.
    """
    with naming(path):
        make_parent(path)
        _sweep(path)
        temporary, file = _create(path)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            locking.remove(temporary, file)


def make_parent(path: Path) -> None:
    """Make the directory that a file is to lie in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # and no directory
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path.parent)) from error


def _create(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file, locked until it has taken its place, so that nobody sweeps it."""
    while True:
        temporary = path.with_name(f".{path.stem}.{token_hex(_TOKEN)}.part{path.suffix}")
        with suppress(BlockingIOError):  # somebody was about to sweep it
            file = locking.open_alone(temporary, os.O_CREAT | os.O_EXCL)
            if locking.fcntl is None:
                file.close()  # Windows moves closed ones only
            return temporary, file


def _sweep(path: Path) -> None:
    """Remove what processes that were killed left: what can be locked is nobody's."""
    if locking.fcntl is None:
        return
    token = "[0-9a-f]" * 2 * _TOKEN
    for stale in path.parent.glob(f"{escape(f'.{path.stem}')}.{token}.part{escape(path.suffix)}"):
        with suppress(OSError), locking.open_alone(stale) as file:
            if locking.lock(file):  # it is; or there are no locks here
                locking.remove(stale, file)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError raised within names ``path``, the file that the user asked for."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise
