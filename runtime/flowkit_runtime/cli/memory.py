"""Reports that memory is short, instead of a traceback or a crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

LIBRARIES = ("numpy", "torch", "lightning_fabric", "onnxruntime")
"""Large libraries, whose C++ code ends the process without an exception if memory is short."""
ROOM = 2**27
"""The number of bytes that must be free after a library is imported."""
SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "failed to map segment", "bad_alloc",
    "can't start new thread",
)  # fmt: skip
"""Parts of the messages, in lower case, of errors that mean a lack of memory but aren't a MemoryError."""

_TRY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path[:] = {path}
try:
    import {library}
    bytearray({room})
except ImportError as error:
    sys.exit(any(sign in str(error).lower() for sign in {signs}))
"""


def out_of_memory(error: BaseException) -> str | None:
    """Return a one-line message if the error, or one of its causes, is a lack of memory. Otherwise return None."""
    cause: BaseException | None = error
    while cause is not None:
        said = str(cause)
        if isinstance(cause, MemoryError) or (
            _is_from_a_library(cause) and any(sign in said.lower() for sign in SIGNS)
        ):
            return f"out of memory: {said.strip().partition(chr(10))[0] or type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return None


def _is_from_a_library(error: BaseException) -> bool:
    """Return True if an error is of a type that the system or a large library raises. onnxruntime's share no base."""
    return isinstance(error, OSError | ImportError | RuntimeError) or type(error).__module__.startswith("onnxruntime.")


@contextmanager
def imports_tried_first() -> Iterator[None]:
    """Try imports of large libraries in another process first, inside the block, if memory is limited (`ulimit -v`).

    Such an import raises MemoryError if that process fails or crashes.
    """
    limit = None if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit is None or limit == resource.RLIM_INFINITY:
        yield
        return
    finder = _TriedFirst(limit)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _TriedFirst(MetaPathFinder):
    def __init__(self, limit: int):
        self.limit = limit

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Find nothing. Raise MemoryError if the library can't be imported under the limit."""
        if fullname not in LIBRARIES:
            return
        code = _TRY.format(path=sys.path, library=fullname, room=ROOM, signs=SIGNS)
        tried = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if tried.returncode:
            raise MemoryError(f"{fullname} does not fit into {self.limit >> 20:,} MiB: raise the limit (ulimit -v)")
