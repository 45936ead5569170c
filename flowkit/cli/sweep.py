"""Implements `flowkit sweep`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.options import Overrides
from flowkit.cli.terminal import columns, echo
from flowkit.errors import FlowkitError, TrainingError

if TYPE_CHECKING:
    from flowkit.sweep.study import Study

SHOWN = 10
"""The most trials that the table at the end shows."""


def sweep(
    spec: Annotated[Path | None, typer.Argument(help="A spec file.", show_default=False)] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The fields that vary, and their values.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The directory; by default sweeps/SPEC.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="The number of all trials; 30 for a new sweep.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="The number of trials that are trained at the same time.")] = 1,
    overrides: Overrides = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Go on with a sweep that was interrupted.")
    ] = None,
) -> None:
    """Search for good values of a spec's fields. A sweep that was interrupted, even killed, can be resumed.

    A space is a YAML file. Its keys are fields as --set takes them:

        train.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}

        flow[1].repeat: {choices: [2, 4, 8]}

    Each trial trains the spec with other values. It is pruned if it is worse than the median at the same epoch.

    Example: flowkit sweep specs/realnvp-moons.yaml --space space.yaml --workers 2

    Example: flowkit sweep --resume sweeps/realnvp-moons --trials 50
    """
    if (spec is None) == (resume is None):
        raise typer.BadParameter("give either a SPEC or a sweep to --resume")
    if resume is not None and (output, space, overrides) != (None, None, None):
        raise typer.BadParameter("a resumed sweep keeps its directory, space and spec: leave out -o, --space and --set")
    if spec is not None and space is None:
        raise typer.BadParameter("give the fields that vary with --space FILE")

    from flowkit.spec import read_spec
    from flowkit.sweep.space import read_space
    from flowkit.train.directory import free_name, with_absolute_paths
    from flowkit.train.runs import check_ready

    directory = resume or output or free_name(Path("sweeps", spec.stem))  # type: ignore[union-attr]
    base = None if spec is None else with_absolute_paths(read_spec(spec, overrides or ()))
    if base is not None and space is not None:
        read_space(space, base)  # its mistakes first
    check_ready()
    if find_spec("optuna") is None:
        raise FlowkitError("sweeps need optuna: pip install '.[sweep]', in a clone of flowkit")
    from flowkit.sweep.study import create_sweep, open_sweep

    if base is not None and space is not None:
        create_sweep(directory, base, space)
    try:
        with open_sweep(directory, trials) as study:
            _run(study, workers)
            _conclude(study)
    except KeyboardInterrupt as interrupt:
        echo(f"interrupted: `flowkit sweep --resume {directory}` goes on", err=True)
        raise typer.Exit(130) from interrupt


def _run(study: "Study", workers: int) -> None:
    """Run the trials, and show each that ends: a bar on a terminal, otherwise a line."""
    from rich.console import Console

    from flowkit.sweep.pool import Pool
    from flowkit.sweep.progress import SweepReport
    from flowkit.sweep.result import write_result

    report = SweepReport(Console(), study)

    def show(number: int) -> None:
        write_result(study)
        report.show(study.trials[number])

    with report.bar:
        Pool(study, workers, show).run()
    write_result(study)


def _conclude(study: "Study") -> None:
    """Print the best trials, and where the result is. Raises TrainingError if no trial is complete."""
    from flowkit.sweep.progress import counts, short_value
    from flowkit.sweep.result import BEST, epochs, score
    from flowkit.sweep.study import FAILURE

    if study.best is None:
        failures = [trial.user_attrs[FAILURE] for trial in study.trials if FAILURE in trial.user_attrs]
        raise TrainingError(f"{study.directory}: {counts(study)}; the first failed because of this: {failures[0]}")
    head = ["trial", "val", "epochs", *study.space]
    rows = []
    for trial in study.ranked[:SHOWN]:
        values = [short_value(trial.params[field]) for field in study.space]
        rows.append([str(trial.number), f"{score(trial):.4f}", str(epochs(trial)), *values])
    echo(columns(head, *rows))
    echo(f"{study.directory}: {counts(study)}; best {study.best.value:.4f} {study.unit} of trial {study.best.number}")
    echo(f"its spec is {study.directory / BEST}, its run {study.run_of(study.best.number)}")
