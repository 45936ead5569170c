"""What all commands have in common: how they end, how their help is shown."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from flowkit_runtime.cli.terminal import echo
from flowkit_runtime.errors import FlowRuntimeError

NAME = "flowkit-runtime"


class Commands(TyperGroup):
    """Ends a command that fails on purpose with the message and its exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (Exception, SystemExit) as error:  # somebody else's code, called by a command, may exit
            message = self.message(error)
            if message is None:
                raise
            echo(message, err=True)
            raise typer.Exit(getattr(error, "exit_code", 2)) from error

    def message(self, error: BaseException) -> str | None:
        """What to print of an error raised on purpose, or that comes from outside: no disk, no right, no memory."""
        if isinstance(error, FlowRuntimeError):
            return str(error)
        if isinstance(error, OSError) and error.filename is not None:
            return f"{os.fsdecode(error.filename)}: {error.strerror or ' '.join(map(str, error.args))}"
        if isinstance(error, MemoryError):
            return f"out of memory: {error}"
        return None


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that nothing half-written is left; the exit code is its own, 143."""
    terminated = False

    def interrupt(*_: object) -> None:
        nonlocal terminated
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except SystemExit as error:
        if terminated:
            error.code = 128 + signal.SIGTERM
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def register(app: typer.Typer, program: str, command: Callable[..., None]) -> None:
    """Make a command one of `program`; the examples in its help then say so."""
    app.command(help=(inspect.getdoc(command) or "").replace(NAME, program))(command)
