"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file of the same suffix to write to; it takes the place of ``path`` if nothing is raised.

    Links are not followed: where ``path`` is one, it is the link that is replaced. An OSError names ``path``.
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # of a process that was killed; or a link that somebody laid there
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """An empty directory to fill; it becomes ``directory`` if nothing is raised.

    Raises FileExistsError if anything but an empty directory is there.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists and is not empty")
    directory = directory.absolute()  # `.` has no name
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if directory.exists():  # it may be somebody's working directory: filled, not replaced
            for entry in temporary.iterdir():
                entry.rename(directory / entry.name)
        else:
            temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
