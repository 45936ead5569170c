"""Defines how SIGTERM and Ctrl-C end a command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM end a command like Ctrl-C, so that nothing half-written is left. Its exit code is 143.

    While a module is imported, both signals end the process at once. An exception there would be changed by the C++
    code of libraries, or abort the process. The files that this leaves are those of a killed process, which the next
    command removes or resumes from.
    """
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        _leave_imports(number, frame)
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal would interrupt the clean-up
        raise KeyboardInterrupt

    def interrupt(number: int, frame: FrameType | None) -> None:
        _leave_imports(number, frame)
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is ignored under nohup, for example
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException:  # libraries may turn the interrupt into another exception
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_imports(number: int, frame: FrameType | None) -> None:
    """End the process if the frame is inside an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)  # a progress bar has hidden it
            os._exit(128 + number)
        frame = frame.f_back
