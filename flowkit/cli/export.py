"""`flowkit export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle. [default: exports/RUN]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a trained flow as ONNX graphs, both directions, verified in onnxruntime before they are handed out.

    Example: flowkit export runs/glow-digits -o exports/glow-digits
    """
    import json

    from rich.console import Console

    from flowkit.export import REFERENCE_ROWS
    from flowkit.export import export as write_bundle
    from flowkit.flow import Flow
    from flowkit.flow.saving import RESULTS
    from flowkit.train.batches import take
    from flowkit.train.data import load_data
    from flowkit_runtime.verification import table

    flow = Flow.load(run)
    held_out = load_data(flow.to_spec(), ["test"])["test"]
    weights = json.loads((run / RESULTS).read_text(encoding="utf-8"))["weights"]
    output = output or Path("exports") / run.name
    x, context = take(held_out, slice(REFERENCE_ROWS))
    with Console(stderr=True).status("exporting and verifying …"):
        figures = write_bundle(flow, output, x, context, weights, overwrite)
    typer.echo(table(figures))
    typer.echo(f"{output}: encode.onnx and decode.onnx, verified")
