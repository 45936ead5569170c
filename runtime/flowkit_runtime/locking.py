"""Files that one process has to itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def open_alone(path: Path, flags: int = 0) -> IO[bytes]:
    """Open a file to read and write, without a buffer; until it is closed, or this process ends, no other one gets it.

    A link that somebody laid there is removed. Nobody is kept out where files can't be locked.
    Raises BlockingIOError: another process has it.
    """
    flags |= os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        if path.is_symlink():
            path.unlink(missing_ok=True)
        file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        try:
            if not lock(file) or _lies_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # who had it before has removed it


def lock(file: IO[bytes]) -> bool:
    """Whether this process alone has the file; no, where none can be locked: on Windows, on some network file systems.

    Raises BlockingIOError: another process has it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def remove(path: Path, file: IO[bytes]) -> None:
    """Remove an open file, if it is still there, before another process gets it. Windows removes closed ones only."""
    if fcntl is None:
        file.close()
    try:
        path.unlink(missing_ok=True)
    finally:
        file.close()


def _lies_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
