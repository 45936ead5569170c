"""Implements `flowkit-runtime score`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit_runtime.cli.options import (
    BundlePath,
    Columns,
    ContextColumns,
    ContextOfData,
    Data,
    ProviderNames,
    Resize,
    Seed,
    Threads,
    wanted,
)
from flowkit_runtime.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit_runtime.model import Model
    from flowkit_runtime.streaming.summary import Summary

ScoresFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the scores here: .npy, .csv or .parquet."),
]


def score(
    bundle: BundlePath,
    data: Data,
    output: ScoresFile = None,
    columns: Columns = "",
    context_columns: ContextColumns = "",
    context: ContextOfData = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of dequantization noise to average over.")] = 1,
    seed: Seed = 0,
    posterior: Annotated[
        bool, typer.Option("--posterior", help="Write p(class | event) of each class beside the scores.")
    ] = False,
    resize: Resize = False,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Score events with an exported bundle, without torch: bits/dim for integer data, nats otherwise.

    Lower is likelier. Files may be of any length. If a run is stopped, or even killed, the same command resumes it.

    An event is anomalous if its score is above the bundle's threshold. This test has one side: an event that is
    unusually likely is never flagged. Likelihood prefers simple inputs: a blank image is often likelier than all data.

    A flow that was trained on a table reads the columns that it needs, in any order, and ignores others.

    If the context is a class and none is given, the score is that of the marginal density, the sum over all classes.

    Example: flowkit-runtime score exports/moons points.csv -o scores.csv
    """
    from flowkit_runtime.cli.outputs import SCORES, check_output, load_apart
    from flowkit_runtime.cli.progress import counting
    from flowkit_runtime.streaming.opening import open_source
    from flowkit_runtime.streaming.scoring import Job, score_file

    if output is not None:
        check_output(output, SCORES)
    model = load_apart(bundle, providers, threads, output, context, data=data)
    source = open_source(data, wanted(model, columns, context_columns, context, resize, seed))
    _check_posterior(model, output, posterior)
    job = Job(model, source, data, draws=draws, seed=seed, threads=threads, posterior=posterior)
    try:
        with counting("scoring", source.rows) as progress:
            summary = score_file(job, output, progress)
    except KeyboardInterrupt:
        if output is not None:
            echo(f"stopped; the same command goes on from here to {output}", err=True)
        raise
    _report(model, summary, output, source.lacks_class)


def _check_posterior(model: "Model", output: Path | None, posterior: bool) -> None:
    from flowkit_runtime.errors import InputError

    if posterior and not model.marginalizes:
        raise InputError(
            "--posterior is for a flow whose context is a class of known probabilities, which isn't the case here"
        )
    if posterior and (output is None or output.suffix == ".npy"):
        raise InputError("--posterior writes columns: name an output, -o FILE.csv or FILE.parquet")


def _report(model: "Model", summary: "Summary", output: Path | None, is_marginal: bool) -> None:
    if summary.n:
        within = f"90% within {summary.low:.4f} … {summary.high:.4f}"
        echo(f"mean {summary.mean:.4f} {model.printed_unit}, median {summary.median:.4f}, {within}")
    if is_marginal:
        classes = f"{model.context.classes} classes" if model.context else "classes"
        no_threshold = "" if model.threshold is None else ", and the threshold isn't theirs"
        echo(f"no class is given: scores are marginal, -log of the sum over {classes}{no_threshold}")
    elif model.threshold is not None:
        above = f"{summary.above} of {summary.n} above the threshold {model.threshold.score:.4f}"
        echo(f"{above}, which {100 * model.threshold.quantile:g}% of held-out events stay below")
    if summary.lacking:
        lack, have = ("lacks", "has") if summary.lacking == 1 else ("lack", "have")
        echo(f"{_events(summary.lacking)} {lack} a value, and {have} no score")
    echo(f"{_events(summary.n)} scored" + (f": {output}" if output else ""))


def _events(n: int) -> str:
    return f"{n} event{'' if n == 1 else 's'}"
