"""Runs attacks in another process. Each may take some seconds and half a gigabyte.

The process is forked from a server, which is itself a fork of the process that runs the tests, made before the first of
them: a later fork would lack the threads that tests start, and wait for them. The server has imported what attacks
need, and does nothing else. A process runs some attacks one after another, because a new one takes longer than most
attacks. One that has ended, or that has taken too much memory, is replaced.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from flowkit.errors import FlowkitError
from flowkit_runtime import FlowRuntimeError

SECONDS, MEGABYTES = 20, 500
ATTACKS = 25
"""How many attacks a process runs. What they leave behind in its memory stays small."""
NEEDED = ("tests.security.actions", "flowkit.train.fit", "rich.progress")
NO_MORE = 100
"""The exit code of a process that has nobody left to run attacks for."""

_servers: list[Connection] = []


def start_server() -> None:
    """Fork the server, unless there is one."""
    if _servers:
        return
    ours, theirs = Pipe()
    if os.fork() == 0:
        ours.close()
        _serve(theirs)
    theirs.close()
    _servers.append(ours)


def _serve(connection: Connection) -> NoReturn:
    """Have one process at a time run the attacks that come, and tell of one that ended by itself."""
    faulthandler.disable()  # pytest's would print where each crash was
    for name in NEEDED:
        importlib.import_module(name)
    gc.freeze()
    ended = 0
    while ended != NO_MORE:
        child = os.fork()
        if child == 0:
            _run(connection)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended not in (0, NO_MORE):
            connection.send(("ended", f"{ended}: longer than {SECONDS} s, or crashed", 0))
    os._exit(0)


def refused(action: Callable[..., Any], *arguments: Any) -> str:
    """The message of the error, raised on purpose, that the action ends with; fails if it ends in another way."""
    kind, text = outcome(action, *arguments)
    assert kind == "refused", f"{kind}: {text}"
    return text


def outcome(action: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    """("returned" | "refused" | "raised", what), within the bounds. The action is pickled: see actions.py."""
    start_server()
    (server,) = _servers
    server.send((os.getcwd(), action, arguments))
    kind, text, megabytes = server.recv()
    assert kind != "ended", f"ended with {text}"
    assert megabytes < MEGABYTES, f"took {megabytes} MB: {kind} {text}"
    return kind, text


def _run(connection: Connection) -> NoReturn:
    """Run the actions that come, each in the directory that comes with it, as long as memory is as it was."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEGABYTES * 2**20, hard))  # threads' arenas are never touched
    before = _peak()
    for _ in range(ATTACKS):
        try:
            directory, action, arguments = connection.recv()
        except EOFError:
            os._exit(NO_MORE)
        signal.alarm(SECONDS)
        os.chdir(directory)
        try:
            kind, text = "returned", repr(action(*arguments))
        except (FlowkitError, FlowRuntimeError) as error:
            kind, text = "refused", str(error)
        except BaseException as error:
            kind, text = "raised", f"{type(error).__name__}: {error}"
        signal.alarm(0)
        megabytes = _peak() - before
        connection.send((kind, text, megabytes))
        if megabytes >= MEGABYTES:
            break
    os._exit(0)  # whatever onnxruntime still runs


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
