"""Implements `flowkit train`."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.options import Overrides
from flowkit.cli.terminal import OutputClosed, echo


def train(
    spec: Annotated[Path | None, typer.Argument(help="A spec file.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The run; by default runs/SPEC, or runs/SPEC-2, … if that exists."
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was interrupted.")
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="With --resume: finish now, with the best weights so far.")
    ] = False,
) -> None:
    """Fit the flow of a spec to its data. A run that was interrupted, even killed, can be resumed.

    Example: flowkit train specs/glow-digits.yaml --set train.epochs=3

    A resumed run must find its data and its spec as they were. --set may change how long it is trained
    (train.epochs, train.minutes, train.patience), on how many devices (train.devices, num_nodes, strategy, accumulate,
    threads), its logger (train.logger), or where its data is (data); a finished run is then trained for longer.

    Example: flowkit train --resume runs/glow-digits --set train.epochs=60
    """
    if (spec is None) == (resume is None):
        raise typer.BadParameter("give either a SPEC or a run to --resume")
    if resume is not None and output is not None:
        raise typer.BadParameter("a resumed run keeps its directory: leave out -o")
    if finish and resume is None:
        raise typer.BadParameter("--finish is for a run that was interrupted: give it with --resume RUN")

    from flowkit import train as training
    from flowkit.directions import lacks
    from flowkit.spec import flow_directions, read_spec
    from flowkit.spec.run import read_run
    from flowkit.train.directory import free_name

    directory = resume or output or free_name(Path("runs", spec.stem))  # type: ignore[union-attr]
    try:
        if spec is None:
            results = training.resume(directory, overrides or (), finish)
        else:
            results = training.train(read_spec(spec, overrides or ()), directory)
    except (KeyboardInterrupt, OutputClosed) as interrupt:
        if directory.exists():
            echo(f"interrupted: `flowkit train --resume {directory}` goes on, with `--finish` it ends here", err=True)
        raise typer.Exit(getattr(interrupt, "code", 130)) from interrupt

    from flowkit.train.devices import is_first  # it imports Lightning Fabric, as the training has done by now

    if not is_first():
        return
    kept = "" if results.best_epoch == results.epochs else f" (epoch {results.best_epoch})"
    echo(f"{directory}: val {results.val:.4f}{kept}, test {results.test:.4f} {results.printed_unit}")
    if lacks(flow_directions(read_run(directory)), "inverse"):
        echo(f"{directory} has no samples.png: the flow runs forward only, so it draws no samples")
