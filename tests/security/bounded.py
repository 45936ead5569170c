"""Runs an attack in a process of its own, which may take some seconds and half a gigabyte.

The process is forked from a server that was started anew, has imported what attacks need, and has no other threads:
a fork of the process that runs the tests would lack the threads that earlier tests started, and wait for them.
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
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.security.actions", "lightning_fabric"])


def refused(action: Callable[..., Any], *arguments: Any) -> str:
    """The message of the error, raised on purpose, that the action ends with; fails if it ends in another way."""
    kind, text = outcome(action, *arguments)
    assert kind == "refused", f"{kind}: {text}"
    return text


def outcome(action: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    """("returned" | "refused" | "raised", what), within the bounds. The action is pickled: see actions.py."""
    receiver, sender = SERVER.Pipe(duplex=False)
    child = SERVER.Process(target=_run, args=(sender, os.getcwd(), action, arguments))
    child.start()
    sender.close()
    try:
        kind, text, megabytes = receiver.recv()
    except EOFError:
        child.join()
        raise AssertionError(f"ended with {child.exitcode}: longer than {SECONDS} s, or crashed") from None
    child.join()
    assert megabytes < MEGABYTES, f"took {megabytes} MB: {kind} {text}"
    return kind, text


def _run(sender: Connection, directory: str, action: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.alarm(SECONDS)
    os.chdir(directory)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEGABYTES * 2**20, hard))  # threads' arenas are never touched
    before = _peak()
    try:
        kind, text = "returned", repr(action(*arguments))
    except (FlowkitError, FlowRuntimeError) as error:
        kind, text = "refused", str(error)
    except BaseException as error:
        kind, text = "raised", f"{type(error).__name__}: {error}"
    sender.send((kind, text, _peak() - before))
    os._exit(0)  # whatever onnxruntime still runs


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
