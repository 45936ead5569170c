"""`flowkit plugins check`"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flowkit.cli.terminal import echo, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from flowkit.plugin import Shape
    from flowkit.testing import Result, Subject

TIMEOUT = 300.0
"""Seconds, many times what any check takes on a small event."""


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
    """Shows which check runs, and for how long, on the last line of a terminal. Above it are failures, or all."""

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


class Selection(NamedTuple):
    """The checks that are run, and for how many seconds at most."""

    only: Sequence[str]
    skip: Sequence[str]
    timeout: float | None


def _shape(text: str) -> Shape:
    try:
        shape = tuple(int(size) for size in text.strip("[]() ").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise typer.BadParameter("write the sizes with commas between them, such as 3,8,8")
    return shape


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A namespace, or namespace/name.", show_default=False)],
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the plugin. May be given several times."),
    ] = None,
    event: Annotated[
        tuple | None, typer.Option(parser=_shape, metavar="SIZES", help="Check it on this event, such as 3,8,8.")
    ] = None,
    context: Annotated[
        tuple | None,
        typer.Option(parser=_shape, metavar="SIZES", help="Give it a context of this shape, such as 3."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECKS", help="Run these checks alone, such as log_det,round_trip."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECKS", help="Leave these checks out, such as compile.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Stop a check that takes longer. It has failed.", show_default=f"{TIMEOUT:.0f}"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of parameters and inputs.")] = 0,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List what passes on a terminal too, as in a pipe.")
    ] = False,
) -> None:
    """Run the conformance kit on a plugin: log-dets against autodiff, round trips, gradients, ONNX, and more.

    It is built as specs build it, on a vector, a single number and two images as far as it takes them. Each check is
    shown as it runs. docs/conformance.md lists them.

    Exit codes: 1 if a check fails, 2 if a plugin can't be checked.

    A single call into C, such as a session of onnxruntime, is not stopped by the time limit before it returns.

    Example: flowkit plugins check glow/affine --set scale=[0.5,2] --only log_det,round_trip
    """
    from flowkit.plugin import Registry
    from flowkit.testing import plugin_subjects
    from flowkit.testing.run import check_ids
    from flowkit.testing.time_limit import TimeLimit, can_interrupt

    only, skip = ([id_ for given in option or () for id_ in given.split(",")] for option in (only, skip))
    check_ids(*only, *skip)
    limit = TimeLimit(TIMEOUT if timeout is None and can_interrupt() else timeout).seconds
    registry = Registry.discover()
    names = [name] if "/" in name else list(registry.namespace(name))
    subjects = partial(plugin_subjects, fields=fields or (), event=event, seed=seed, context=context)
    chosen = Selection(only, skip, limit)
    with shown(verbose) as progress:
        codes = [_check(each, subjects, chosen, progress) for each in names]
    if code := max(codes, default=0):
        raise typer.Exit(code)


def _check(
    name: str, subjects: Callable[[str], dict[str, Subject]], chosen: Selection, progress: LineByLine | Live
) -> int:
    """The exit code: what can't be checked doesn't keep the rest of its namespace from it."""
    from flowkit.errors import FlowkitError

    try:
        results = list(_run(subjects(name), chosen, progress))
    except FlowkitError as error:
        echo(f"{name} can't be checked: {error}", err=True)
        return 2
    if not results:
        echo(f"{name} has none of the checks that were chosen", err=True)
        return 2
    failed = sum(result.is_error for result in results)
    total = len(results)
    echo(f"{name}: {failed} of {total} checks failed" if failed else f"{name} passes all {total} checks")
    return 1 if failed else 0


def _run(subjects: Mapping[str, Subject], chosen: Selection, progress: LineByLine | Live) -> Iterator[Result]:
    """The results, one by one. What can't be built is checked no further."""
    from flowkit.testing import run_check, select

    for title, subject in subjects.items():
        checks = select(subject, slow=True, only=chosen.only, skip=chosen.skip)
        if checks:
            echo(f"{title}: {len(checks)} check{'s' * (len(checks) != 1)}")
        for check in checks:
            progress.begin(title, check)
            result = run_check(subject, check, chosen.timeout)
            progress.end(result)
            yield result
            if check == "builds" and result.is_error:
                return
