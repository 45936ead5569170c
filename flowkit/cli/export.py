"""Implements `flowkit export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowkit.cli.terminal import echo
from flowkit_runtime.cli.options import Verbose

if TYPE_CHECKING:
    from flowkit.flow import Flow

MOST_EVENTS = 10_000
"""Held-out events that the threshold comes from."""


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle. \\[default: exports/RUN]")
    ] = None,
    opset: Annotated[int, typer.Option(min=18, max=24, help="The version of the ONNX operators.")] = 20,
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(help="The precision of the networks; channel maps, log-dets and densities are float32."),
    ] = "float32",
    shared_weights: Annotated[
        bool, typer.Option("--shared-weights", help="One file of weights for both graphs: half the size.")
    ] = False,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Leave the height and width of images open, if the flow can.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Add a page that runs the flow in a browser: one file, no server.")
    ] = False,
    quantile: Annotated[
        float, typer.Option(help="Share of held-out events that score below the threshold of `anomalous`: 0 < x < 1.")
    ] = 0.99,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    verbose: Verbose = False,
) -> None:
    """Write a trained flow as ONNX graphs, both directions, verified in onnxruntime before they are handed out.

    A flow that runs forward only has encode.onnx alone.

    Example: flowkit export runs/glow-digits -o exports/glow-digits
    """
    from flowkit.allocator import keep_freed_memory
    from flowkit.export import Options
    from flowkit.export import export as write_bundle
    from flowkit.export.figures import check_quantile
    from flowkit.export.web import PAGE
    from flowkit.flow import Flow
    from flowkit.train import load_run_data, read_results
    from flowkit.train.batches import take
    from flowkit_runtime.cli.progress import steps
    from flowkit_runtime.verdict import table, verdict

    keep_freed_memory()
    check_quantile(quantile)
    flow = Flow.load(run)
    held_out = load_run_data(run, flow.to_spec(), ["test"])["test"]
    results = read_results(run)
    name = run.resolve().name
    output = output or Path("exports", name)
    x, context, _ = take(held_out, slice(MOST_EVENTS))
    options = Options(
        opset=opset,
        precision=precision,
        shared_weights=shared_weights,
        any_size=any_size,
        page=name if web else None,
        quantile=quantile,
        classes=results.classes,
    )
    with steps("exporting") as begin:
        exported = write_bundle(
            flow, output, x, context, weights=results.weights, overwrite=overwrite, options=options, begin=begin
        )
    echo(verdict(exported.figures))
    if verbose:
        echo(f"\n{table(exported.figures)}\n")
    for line in _summary(exported.manifest, flow, verbose):
        echo(line)
    graphs = [file for file in exported.manifest["files"] if file.endswith(".onnx")]
    echo(f"{output}: {', '.join(graphs)}")
    if web:
        echo(f"{output / PAGE}: open it in a browser, or send it to somebody")


def _summary(manifest: dict[str, Any], flow: "Flow", verbose: bool) -> Iterator[str]:
    """Yield what was measured on held-out events and, if ``verbose``, on those unlike the data."""
    groups = list(manifest["excluded"]) if verbose else ["held-out"]
    for group in groups:
        rows = manifest["excluded"][group]
        if rows["excluded"]:
            yield (
                f"{rows['excluded']} of {rows['events']} {group} events aren't compared: there {manifest['precision']} "
                "itself is off by over 1%, in torch as well"
            )
    if verbose and manifest["change"] is not None:
        yield f"log-densities of held-out events are off by {manifest['change']:.1e} {flow.unit} on average"
    for group, restored in (manifest["restored"] or {}).items():
        if group in groups:
            yield f"{restored['exact']} of {restored['events']} {group} events come back exactly from encode and decode"
    if threshold := manifest["threshold"]:
        share, score = threshold["quantile"], threshold["score"]
        events = f"{100 * share:g}% of {threshold['events']} held-out events"
        yield f"threshold: {events} score below {score:.4f} {flow.printed_unit}"
