"""Runs an attack in a process of its own, which may take some seconds and half a gigabyte."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Callable
from typing import Any

from flowkit.errors import FlowkitError
from flowkit_runtime import FlowRuntimeError

SECONDS, MEGABYTES = 20, 500


def refused(action: Callable[[], Any]) -> str:
    """The message of the error, raised on purpose, that ``action`` ends with; fails if it ends in another way."""
    kind, text = outcome(action)
    assert kind == "refused", f"{kind}: {text}"
    return text


def outcome(action: Callable[[], Any]) -> tuple[str, str]:
    """("returned" | "refused" | "raised", what), within the bounds."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(_run(action), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"ended by signal {os.WTERMSIG(status)}: longer than {SECONDS} s, or crashed"
    kind, text, megabytes = pickle.loads(answer)
    assert megabytes < MEGABYTES, f"took {megabytes} MB: {kind} {text}"
    return kind, text


def _run(action: Callable[[], Any]) -> tuple[str, str, int]:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEGABYTES * 2**20, hard))  # threads' arenas are never touched
    before = _peak()
    try:
        kind, text = "returned", repr(action())
    except (FlowkitError, FlowRuntimeError) as error:
        kind, text = "refused", str(error)
    except BaseException as error:
        kind, text = "raised", f"{type(error).__name__}: {error}"
    return kind, text, _peak() - before


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
