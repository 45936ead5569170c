"""The scores so far, in a file beside the output that a killed process leaves and the next one goes on with."""

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
from flowkit_runtime.errors import FlowRuntimeError, InputError

Scores = NDArray[np.float64]

_DIGEST = hashlib.sha256().digest_size
_BLOCK = 2**16
_DTYPE = np.dtype("<f8")


class Part:
    """An open file: the SHA-256 of what the scores are made from, then the scores, little-endian float64.

    Args:
        file: open for reading and writing, without a buffer: what is written survives this process.
        made_from: JSON values that differ if the scores may.
        batch: rows are kept in whole batches, so that one that was cut short is scored anew, as a whole.
    """

    def __init__(self, file: IO[bytes], made_from: list[Any], batch: int) -> None:
        digest = hashlib.sha256(json.dumps(made_from).encode()).digest()
        if file.read(_DIGEST) != digest:
            file.truncate(0)
            file.seek(0)
            _write(file, digest)
        kept = (os.fstat(file.fileno()).st_size - _DIGEST) // _DTYPE.itemsize // batch * batch
        self._file, self.rows = file, kept
        file.truncate(_DIGEST + kept * _DTYPE.itemsize)
        file.seek(0, os.SEEK_END)

    def append(self, scores: Scores) -> None:
        _write(self._file, scores.astype(_DTYPE).tobytes())
        self.rows += len(scores)

    def blocks(self) -> Iterator[Scores]:
        """All scores, some thousand at a time."""
        self._file.seek(_DIGEST)
        while content := self._file.read(_BLOCK * _DTYPE.itemsize):
            yield np.frombuffer(content, _DTYPE)


def part_path(output: Path) -> Path:
    """Where the part of an output lies."""
    return output.with_name(f".{output.name}.scores")


@contextmanager
def opened(output: Path) -> Iterator[IO[bytes]]:
    """Yield the file of the part of `output`, which this process alone writes. A link under its name is removed.

    It stays if this is interrupted or the disk is full. It is removed at the end, or where going on would not help.
    Raises InputError if another process is writing this output.
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
        except FlowRuntimeError:
            path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def _open(path: Path) -> IO[bytes]:
    if path.is_symlink():
        path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def _write(file: IO[bytes], content: bytes) -> None:
    """All of it: without a buffer, a file may take a part."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
