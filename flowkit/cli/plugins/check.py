"""Implements `flowkit plugins check`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit.plugin import Shape
    from flowkit.testing import Result, Subject

TIMEOUT = 300.0
"""Seconds, many times what any check takes on a small event."""


WIDTH = 22
"""The width of the longest id of a check."""


class Selection(NamedTuple):
    """The checks that are run, for how many seconds at most, and whether a terminal lists those that pass."""

    only: Sequence[str]
    skip: Sequence[str]
    timeout: float | None
    verbose: bool


def _shape(text: str) -> "Shape":
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
        tuple | None, typer.Option(parser=_shape, metavar="SIZES", help="Give it a context of this shape, such as 3.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECKS", help="Run these checks alone, such as log_det,round_trip.")
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
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The seed of parameters and inputs.")] = 0,
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
    from flowkit.testing.catalog import check_ids
    from flowkit.testing.time_limit import TimeLimit, can_interrupt

    only, skip = ([id_ for given in option or () for id_ in given.split(",")] for option in (only, skip))
    check_ids(*only, *skip)
    limit = TimeLimit(TIMEOUT if timeout is None and can_interrupt() else timeout).seconds
    registry = Registry.discover()
    names = [name] if "/" in name else list(registry.plugins_of(name))
    subjects = partial(plugin_subjects, fields=fields or (), event=event, seed=seed, context=context)
    chosen = Selection(only, skip, limit, verbose)
    if code := max((_check(each, subjects, chosen) for each in names), default=0):
        raise typer.Exit(code)


def _check(name: str, subjects: "Callable[[str], dict[str, Subject]]", chosen: Selection) -> int:
    """Check one plugin and return the exit code. An error here doesn't keep the rest of a namespace from its checks."""
    from flowkit.errors import FlowkitError

    try:
        results = list(_run(subjects(name), chosen))
    except FlowkitError as error:
        echo(f"{name} can't be checked: {error}", err=True)
        return 2
    if not results:
        echo(f"{name} has none of the checks that were chosen", err=True)
        return 2
    echo(f"{name}{_verdict(results)}")
    return 1 if any(result.is_error for result in results) else 0


def _verdict(results: "Sequence[Result]") -> str:
    failed = sum(result.is_error for result in results)
    skipped = sum(result.outcome == "skipped" for result in results)
    total = len(results) - skipped
    if not total:
        return f": none of the {skipped} checks applies"
    passes = "passes all" if total > 1 else "passes"
    counted = f": {failed} of {total} checks failed" if failed else f" {passes} {total} check{'s' * (total > 1)}"
    return counted + (f"; {skipped} {'do' if skipped > 1 else 'does'}n't apply" if skipped else "")


def _run(subjects: "Mapping[str, Subject]", chosen: Selection) -> "Iterator[Result]":
    """Yield the results one by one. A subject that can't be built ends the checks.

    A terminal shows on its last line which check runs, and for how long. Elsewhere each check has a line, which is
    begun when the check begins, so that one that hangs can be seen in a log too.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from flowkit.testing import run_check, select

    console = Console()
    redraws = console.is_terminal and console.file.isatty()  # rich takes a pipe with FORCE_COLOR for a terminal
    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True, disable=not redraws) as progress:
        for title, subject in subjects.items():
            checks = select(subject, slow=True, only=chosen.only, skip=chosen.skip)
            if checks:
                echo(f"{title}: {len(checks)} check{'s' * (len(checks) != 1)}")
            for check in checks:
                line = f"    {check:<{WIDTH}}"
                task = progress.add_task(f"{title}: {check}", total=None)
                if not redraws:
                    typer.echo(line, nl=False)
                result = run_check(subject, check, chosen.timeout)
                progress.remove_task(task)
                if not redraws:
                    echo(_outcome(result))
                elif chosen.verbose or result.is_error:
                    echo(line + _outcome(result))
                yield result
                if check == "builds" and result.is_error:
                    return


def _outcome(result: "Result") -> str:
    return f"  {result.outcome:<7}  {result.seconds:7.2f} s  {result.reason}".rstrip()
