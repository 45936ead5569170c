"""`flowkit evaluate`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="The part of the data.")] = "test",
    draws: Annotated[int, typer.Option(min=1, help="Draws of dequantization noise to average over.")] = 8,
) -> None:
    """Score a trained flow on its data: mean bits/dim for integer data, nats otherwise. Lower is better.

    Example: flowkit evaluate runs/glow-digits
    """
    from flowkit import train as training
    from flowkit.flow import Flow
    from flowkit.train.figures import best_device

    flow = Flow.load(run).to(best_device())
    spec = flow.to_spec()
    data = training.load_data(spec, [split])[split]
    figure = training.evaluate(flow, data, spec.train.batch_size, draws)
    typer.echo(f"{split}: {figure:.4f} {flow.unit}, {len(data.x)} events")
