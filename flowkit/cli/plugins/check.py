"""`flowkit plugins check`"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.plugins.columns import columns
from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit.plugin import Shape
    from flowkit.testing import Result, Subject


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
    seed: Annotated[int, typer.Option(help="Of parameters and inputs.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every check.")] = False,
) -> None:
    """Run the conformance kit on a plugin: log-dets against autodiff, round trips, gradients, ONNX, and more.

    It is built as specs build it, on a vector and two images as far as it takes them. Leaves with 1 if a check fails,
    with 2 if a plugin can't be checked.

    Example: flowkit plugins check glow/affine --set scale=[0.5,2]
    """
    from flowkit.plugin import Registry
    from flowkit.testing import plugin_subjects

    registry = Registry.discover()
    names = [name] if "/" in name else list(registry.namespace(name))
    subjects = partial(plugin_subjects, fields=fields or (), event=event, seed=seed, context=context)
    if code := max([_check(each, subjects, verbose) for each in names], default=0):
        raise typer.Exit(code)


def _check(name: str, subjects: Callable[[str], dict[str, Subject]], verbose: bool) -> int:
    """The exit code: what can't be checked doesn't keep the rest of its namespace from it."""
    from flowkit.errors import FlowkitError

    try:
        results = _run(subjects(name))
    except FlowkitError as error:
        echo(f"{name} can't be checked: {error}", err=True)
        return 2
    for title, of_one in results.items():
        counts = Counter(result.outcome for result in of_one)
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        echo(f"{title}: {said}, in {sum(result.seconds for result in of_one):.1f} s")
        shown = [result for result in of_one if verbose or result.is_error]
        rows = [(f"    {each.check}", each.outcome, f"{each.seconds:.2f} s", each.reason) for each in shown]
        if rows:
            echo(f"{columns(*rows)}\n")
    failed = [result for of_one in results.values() for result in of_one if result.is_error]
    total = sum(map(len, results.values()))
    echo(f"{name}: {len(failed)} of {total} checks failed" if failed else f"{name} passes all {total} checks")
    return 1 if failed else 0


def _run(subjects: Mapping[str, Subject]) -> dict[str, list[Result]]:
    """The results of each, with a progress bar where a person looks on. What can't be built is checked no further."""
    from rich.console import Console
    from rich.progress import Progress

    from flowkit.testing import checks_of, run_check

    results: dict[str, list[Result]] = {}
    total = sum(len(checks_of(subject, slow=True)) for subject in subjects.values())
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        for title, subject in subjects.items():
            for check in checks_of(subject, slow=True):
                progress.update(task, advance=1, description=f"{title}: {check}")
                results.setdefault(title, []).append(result := run_check(subject, check))
                if result.check == "builds" and result.is_error:
                    return results
    return results
