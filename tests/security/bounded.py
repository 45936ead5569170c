"""Runs attacks in another process. Each may take some seconds and half a gigabyte.

The process is forked from a server that was started anew, has imported what attacks need, and has no other threads:
a fork of the process that runs the tests would lack the threads that earlier tests started, and wait for them.
A process runs some attacks one after another, because a new one takes longer than most attacks. One that was ended, or
that took too much memory, is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from flowkit.errors import FlowkitError
from flowkit_runtime import FlowRuntimeError

SECONDS, MEGABYTES = 20, 500
ATTACKS = 25
"""How many attacks a process runs. What they leave behind in its memory stays small."""
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.security.actions", "flowkit.train.fit", "rich.progress"])


def refused(action: Callable[..., Any], *arguments: Any) -> str:
    """The message of the error, raised on purpose, that the action ends with; fails if it ends in another way."""
    kind, text = outcome(action, *arguments)
    assert kind == "refused", f"{kind}: {text}"
    return text


class _Child:
    """A process that runs attacks."""

    def __init__(self) -> None:
        self._connection, theirs = SERVER.Pipe()
        self._process = SERVER.Process(target=_run, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.left = ATTACKS

    def run(self, action: Callable[..., Any], *arguments: Any) -> tuple[str, str, int]:
        """Return what the action ended with, a text about it, and the most megabytes that were taken so far."""
        self.left -= 1
        self._connection.send((os.getcwd(), action, arguments))
        try:
            ended: tuple[str, str, int] = self._connection.recv()
        except EOFError:
            self.left = 0
            self._process.join()
            code = self._process.exitcode
            raise AssertionError(f"ended with {code}: longer than {SECONDS} s, or crashed") from None
        return ended


_children: list[_Child] = []


def outcome(action: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    """("returned" | "refused" | "raised", what), within the bounds. The action is pickled: see actions.py."""
    _children[:] = [child for child in _children if child.left] or [_Child()]
    (child,) = _children
    kind, text, megabytes = child.run(action, *arguments)
    if megabytes >= MEGABYTES:
        child.left = 0
        raise AssertionError(f"took {megabytes} MB: {kind} {text}")
    return kind, text


def _run(connection: Connection) -> None:
    """Run the actions that come, each in the directory that comes with it, until there are no more."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEGABYTES * 2**20, hard))  # threads' arenas are never touched
    before = _peak()
    while True:
        try:
            directory, action, arguments = connection.recv()
        except EOFError:
            os._exit(0)  # whatever onnxruntime still runs
        signal.alarm(SECONDS)
        os.chdir(directory)
        try:
            kind, text = "returned", repr(action(*arguments))
        except (FlowkitError, FlowRuntimeError) as error:
            kind, text = "refused", str(error)
        except BaseException as error:
            kind, text = "raised", f"{type(error).__name__}: {error}"
        signal.alarm(0)
        connection.send((kind, text, _peak() - before))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
