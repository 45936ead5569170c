"""Implements what all commands share: how they report errors, and how their help is shown."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from flowkit_runtime.cli.memory import imports_tried_first, out_of_memory
from flowkit_runtime.cli.terminal import OutputClosed, echo
from flowkit_runtime.errors import FlowRuntimeError

NAME = "flowkit-runtime"


class Commands(TyperGroup):
    """A group of commands.

    A command that fails on purpose prints the message without a traceback, and exits with its code.
    """

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with self._explained():  # it prints the help and the version
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with self._explained(), imports_tried_first():
            return super().invoke(ctx)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OutputClosed:
            raise
        except (Exception, SystemExit) as error:  # foreign code that a command calls may exit
            short = out_of_memory(error)
            message = short or self.message(error)
            if message is None:
                raise
            echo(message, err=True)
            raise typer.Exit(2 if short else getattr(error, "exit_code", 2)) from error

    def message(self, error: BaseException) -> str | None:
        """Return the message of an expected error, raised on purpose or by the system, such as a full disk.

        Otherwise None.
        """
        if isinstance(error, FlowRuntimeError):
            return str(error)
        if isinstance(error, OSError) and error.filename is not None:
            return f"{os.fsdecode(error.filename)}: {error.strerror or ' '.join(map(str, error.args))}"
        return None


def register(app: typer.Typer, program: str, command: Callable[..., None]) -> None:
    """Add a command to the app of `program`, and adapt the examples in its help."""
    app.command(help=(inspect.getdoc(command) or "").replace(NAME, program))(command)
