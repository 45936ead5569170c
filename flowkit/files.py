"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowkit_runtime.replacing import replacing as replacing


def is_free(directory: Path) -> bool:
    """Whether nothing is there, or an empty directory."""
    return not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """An empty directory to fill; it becomes ``directory`` if nothing is raised.

    Raises FileExistsError if anything but an empty directory is there.
    """
    if not is_free(directory):
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
