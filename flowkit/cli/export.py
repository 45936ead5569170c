"""`flowkit export`"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit.flow import Flow

MOST_EVENTS = 10_000
"""Held-out events that the threshold comes from."""


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle. [default: exports/RUN]")
    ] = None,
    opset: Annotated[int, typer.Option(min=18, max=24, help="The version of the ONNX operators.")] = 20,
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(help="Of the networks; channel maps, log-dets and densities are float32."),
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
        float,
        typer.Option(min=0, max=1, help="Share of held-out events that score below the threshold of `anomalous`."),
    ] = 0.99,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a trained flow as ONNX graphs, both directions, verified in onnxruntime before they are handed out.

    A flow that runs forward only has encode.onnx alone.

    Example: flowkit export runs/glow-digits -o exports/glow-digits
    """
    from rich.console import Console

    from flowkit.allocator import keep_freed_memory
    from flowkit.export import Options
    from flowkit.export import export as write_bundle
    from flowkit.export.web import PAGE
    from flowkit.flow import Flow
    from flowkit.train import load_run_data, read_results
    from flowkit.train.batches import take
    from flowkit_runtime.verification import table

    keep_freed_memory()
    flow = Flow.load(run)
    held_out = load_run_data(run, flow.to_spec(), ["test"])["test"]
    results = read_results(run)
    name = run.resolve().name
    output = output or Path("exports", name)
    x, context, _ = take(held_out, slice(MOST_EVENTS))
    options = Options(
        opset,
        precision,
        shared_weights,
        any_size,
        page=name if web else None,
        quantile=quantile,
        classes=results.classes,
    )
    with Console(stderr=True).status("exporting and verifying …"):
        exported = write_bundle(flow, output, x, context, results.weights, overwrite, options)
    echo(table(exported.figures))
    for line in _summary(exported.manifest, flow):
        echo(line)
    graphs = [file for file in exported.manifest["files"] if file.endswith(".onnx")]
    echo(f"{output}: {', '.join(graphs)}: verified")
    if web:
        echo(f"{output / PAGE}: open it in a browser, or send it to somebody")


def _summary(manifest: dict[str, Any], flow: "Flow") -> Iterator[str]:
    for group, rows in manifest["excluded"].items():
        if rows["excluded"]:
            yield f"{rows['excluded']} of {rows['events']} {group} events are excluded: torch itself is off by over 1%"
    yield f"log-densities of held-out events are off by {manifest['change']:.1e} {flow.unit} on average"
    kinds = {"held-out": "", "off-data": " (constants, checkerboards, noise)"}
    for group, restored in (manifest["restored"] or {}).items():
        yield f"{restored['exact']} of {restored['events']} {group} events{kinds[group]} come back exactly"
    if threshold := manifest["threshold"]:
        share, score = threshold["quantile"], threshold["score"]
        events = f"{100 * share:g}% of {threshold['events']} held-out events"
        yield f"{events} score below {score:.4f} {flow.printed_unit}, the threshold"
