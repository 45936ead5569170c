"""Runs other people's code: its output goes to stderr, and its errors become one line."""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pluggy
import pydantic

from flowkit import errors
from flowkit_runtime.errors import shortened

BETWEEN = [Path(file).parent for file in (errors.__file__, importlib.__file__, pluggy.__file__, pydantic.__file__)]
"""Directories of the code between flowkit and a plugin, where no plugin's author looks for a mistake."""


class _Redirection:
    """Sends stdout to stderr while any thread is inside: the first one in redirects it, the last one out restores it.

    sys.stdout is the whole process's. Each thread on its own might restore what another one has redirected.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.stdout: TextIO | None = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.stdout, sys.stdout = sys.stdout, sys.stderr
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                sys.stdout = self.stdout


_STDOUT_TO_STDERR = _Redirection()


@contextmanager
def guarded(what: str, *on_purpose: type[Exception]) -> Iterator[None]:
    """Run a plugin's code: whatever it raises becomes a PluginError that begins with ``what``.

    So does SystemExit, because a plugin may not end flowkit. KeyboardInterrupt, and errors ``on_purpose``, pass. The
    plugin's output goes to stderr, because stdout is the command's, which may be writing JSON.
    """
    passing: tuple[type[BaseException], ...] = (KeyboardInterrupt, *on_purpose)
    try:
        with _STDOUT_TO_STDERR:
            yield
    except passing:
        raise
    except BaseException as error:
        why = str(error) if isinstance(error, errors.PluginError) else reason(error)
        raise errors.PluginError(f"{what}: {why}") from error


@contextmanager
def as_by_itself() -> Iterator[None]:
    """Run code without the caller's device context and inference mode: its tensors are made on the CPU, and trainable.

    Modules of plugins are imported in it: what they create at module level belongs to the whole process. torch isn't
    imported for it. As long as nobody has imported torch, there is no such mode either.
    """
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "inference_mode"):
        yield
        return
    with torch.device("cpu"), torch.inference_mode(False):
        yield


def in_a_line(error: BaseException, whole: bool = False) -> str:
    """Return the type and the first line of the message of somebody else's error, shortened: torch goes on for pages.

    With ``whole`` the other lines follow on the same line. An error whose ``__str__`` fails is told by its type.
    """
    try:
        text = str(error).strip()
        said = shortened(" ".join(text.split()) if whole else text.partition("\n")[0])
    except Exception:
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def reason(error: BaseException) -> str:
    """Return the error in a line, and the line of the plugin's own code."""
    said = in_a_line(error, whole=True)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
    if not frames:
        return said
    home = Path(frames[0].filename).parent  # beyond it is what the plugin calls: torch, say
    last = [frame for frame in frames if Path(frame.filename).parent == home][-1]
    return f"{said} ({last.filename}:{last.lineno})"


def _is_foreign(file: str) -> bool:
    return not file.startswith("<") and not any(Path(file).is_relative_to(directory) for directory in BETWEEN)
