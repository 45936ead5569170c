"""`flowkit export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import echo


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle. [default: exports/RUN]")
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Add a page that runs the flow in a browser, without any server.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a trained flow as ONNX graphs, both directions, verified in onnxruntime before they are handed out.

    Example: flowkit export runs/glow-digits -o exports/glow-digits
    """
    from rich.console import Console

    from flowkit.allocator import keep_freed_memory
    from flowkit.export import REFERENCE_ROWS
    from flowkit.export import export as write_bundle
    from flowkit.export.web import PAGE
    from flowkit.flow import Flow
    from flowkit.train import load_data, read_results
    from flowkit.train.batches import take
    from flowkit_runtime.verification import table

    keep_freed_memory()
    flow = Flow.load(run)
    held_out = load_data(flow.to_spec(), ["test"])["test"]
    weights = read_results(run).weights
    output = output or Path("exports") / run.name
    x, context = take(held_out, slice(REFERENCE_ROWS))
    with Console(stderr=True).status("exporting and verifying …"):
        figures = write_bundle(flow, output, x, context, weights, overwrite, run.resolve().name if web else None)
    echo(table(figures))
    echo(f"{output}: encode.onnx and decode.onnx, verified")
    if web:
        echo(f"{output / PAGE}: open it in a browser, or send it to somebody")
