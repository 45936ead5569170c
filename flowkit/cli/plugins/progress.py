"""How `flowkit plugins check` shows its checks: each while it runs, and how it came out."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import typer

from flowkit.cli.terminal import echo, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from flowkit.testing import Result

WIDTH = 22
"""Of the longest id of a check."""


class LineByLine:
    """A line for every check. It is begun when the check begins, so that one that hangs can be seen in a log too."""

    def __enter__(self) -> LineByLine:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def begin(self, title: str, check: str) -> None:
        typer.echo(f"    {check:<{WIDTH}}", nl=False)

    def end(self, result: Result) -> None:
        typer.echo(printable(_outcome(result)))


class Live:
    """What runs, and for how long, on the last line of a terminal. Above it are lines for what has failed, or all."""

    def __init__(self, verbose: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
        self.progress: Progress = Progress(*columns, console=Console(), transient=True)
        self.verbose = verbose

    def __enter__(self) -> Live:
        self.progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def begin(self, title: str, check: str) -> None:
        self.task = self.progress.add_task(f"{title}: {check}", total=None)

    def end(self, result: Result) -> None:
        self.progress.remove_task(self.task)
        if self.verbose or result.is_error:
            echo(f"    {result.check:<{WIDTH}}{_outcome(result)}")


def _outcome(result: Result) -> str:
    return f"  {result.outcome:<7}  {result.seconds:7.2f} s  {result.reason}".rstrip()


def shown(verbose: bool) -> LineByLine | Live:
    """Return a context that shows checks as suits standard output."""
    from rich.console import Console

    return Live(verbose) if Console().is_terminal else LineByLine()
