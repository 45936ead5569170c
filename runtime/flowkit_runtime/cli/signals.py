"""How SIGTERM and Ctrl-C end a command."""

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
    """SIGTERM ends a command as Ctrl-C does, so that nothing half-written is left; the exit code is its own, 143.

    While a module is imported, both end the process at once: an exception would come out of the libraries' C++ code
    as another one, or abort. What that leaves of a file or a run is what a kill leaves: the next command removes it, or
    goes on with it.
    """
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        _leave_imports(number, frame)
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        raise KeyboardInterrupt

    def interrupt(number: int, frame: FrameType | None) -> None:
        _leave_imports(number, frame)
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException:  # also what the libraries made of the interrupt
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_imports(number: int, frame: FrameType | None) -> None:
    """End the process if the frame is within an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)  # which a progress bar hides
            os._exit(128 + number)
        frame = frame.f_back
