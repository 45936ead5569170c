"""Interrupts what runs for too long."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from flowkit.errors import InputError

AGAIN = 1.0
"""Seconds after which what has swallowed the interruption is interrupted once more."""


class TimedOut(BaseException):
    """Raised inside of what takes too long. It is no Exception, so that ``except Exception`` lets it pass."""


def can_interrupt() -> bool:
    """Return whether time limits work here: in the main thread, where there is SIGALRM, so not on Windows."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


class TimeLimit:
    """A context that raises TimedOut inside of its body once that has run for ``seconds``; None is no limit.

    Python code, waiting and child processes are interrupted. A single call into C, such as one large product of
    matrices or a session of onnxruntime, is not: it returns first. ``error`` is what was raised, also where the body
    has caught it. A timer that was set before is set again afterwards.

    Raises InputError where there can be no such limit.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not 0 < seconds < threading.TIMEOUT_MAX:
            raise InputError(f"a time limit of {seconds:g} s: it must be above 0 and finite")
        if seconds is not None and not can_interrupt():
            raise InputError("a time limit needs SIGALRM and the main thread: leave it out here")
        self.seconds = seconds
        self.error: TimedOut | None = None
        self._before: tuple[Any, tuple[float, float]] | None = None

    def __enter__(self) -> None:
        if self.seconds is not None:
            handler = signal.signal(signal.SIGALRM, self._interrupt)
            self._before = handler, signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            (handler, timer), self._before = self._before, None
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._before is not None:
            self.error = self.error or TimedOut()
            raise self.error
