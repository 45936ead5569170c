"""Keeps the scores so far in a file beside the output, from which a later process resumes after a killed one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.atomic import locked, make_parent
from flowkit_runtime.errors import InputError, RowError

Scores = NDArray[np.float64]

_DIGEST = hashlib.sha256().digest_size
_BLOCK = 2**16
_DTYPE = np.dtype("<f8")


class Part:
    """An open file of scores.

    It holds the SHA-256 of the inputs of the scores, then rows of little-endian float64. The first number of a row is
    the score of an event. Others may follow.

    Args:
        file: file that is open for reading and writing without a buffer, so that written data survives this process.
        made_from: JSON values that are different if the scores could be.
        batch: the number of rows in a batch. Only complete batches are kept; an incomplete one is scored again.
        width: how many numbers a row has.
    """

    def __init__(self, file: IO[bytes], made_from: list[Any], batch: int, width: int = 1) -> None:
        digest = hashlib.sha256(json.dumps(made_from).encode()).digest()
        if file.read(_DIGEST) != digest:
            file.truncate(0)
            file.seek(0)
            _write(file, digest)
        row = width * _DTYPE.itemsize
        kept = (os.fstat(file.fileno()).st_size - _DIGEST) // row // batch * batch
        self._file, self.rows, self._width = file, kept, width
        file.truncate(_DIGEST + kept * row)
        file.seek(0, os.SEEK_END)

    def append(self, rows: Scores) -> None:
        """Add rows, [n, width]."""
        _write(self._file, rows.astype(_DTYPE).tobytes())
        self.rows += len(rows)

    def blocks(self) -> Iterator[Scores]:
        """Yield all scores, some thousand at a time."""
        return (rows[:, 0] for rows in self.row_blocks())

    def row_blocks(self) -> Iterator[Scores]:
        """Yield all rows, [n, width], some thousand at a time."""
        self._file.seek(_DIGEST)
        at_once = max(1, _BLOCK // self._width) * self._width
        while content := self._file.read(at_once * _DTYPE.itemsize):
            yield np.frombuffer(content, _DTYPE).reshape(-1, self._width)


def part_path(output: Path) -> Path:
    """Return the path of the part file of an output."""
    return output.with_name(f".{output.name}.scores")


@contextmanager
def opened(output: Path) -> Iterator[IO[bytes]]:
    """Yield the part file of `output`, locked so that only this process writes to it. A link at its path is removed.

    The file is removed at the end, and after an error of a row, because other data makes other scores. After any other
    error it is kept if it holds scores. Raises InputError if another process is writing this output.
    """
    make_parent(output)
    path = part_path(output)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_suffix(".lock")))
        except BlockingIOError as error:
            raise InputError(f"{output} is being written by another process") from error
        try:
            with _open(path) as file:
                yield file
        except BaseException as error:
            holds_scores = path.exists() and path.stat().st_size > _DIGEST
            if isinstance(error.__cause__, RowError) or not holds_scores:
                path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def _open(path: Path) -> IO[bytes]:
    if path.is_symlink():
        path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def _write(file: IO[bytes], content: bytes) -> None:
    """Write all of the content. A single write without a buffer may write only part of it."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
