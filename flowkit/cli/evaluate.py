"""Implements `flowkit evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flowkit.cli.terminal import echo

MEANINGS = {
    "histogram": "  each value by itself",
    "gaussian": "  one Gaussian with full covariance",
    "linear-gaussian": "  a Gaussian around a linear function of the context",
}
"""The meanings of the densities without a flow."""
LONGER = "train it for longer: flowkit train --resume {} --set train.epochs=N"
STANDARDIZE = "Data that is far from 0, or whose scale is far from 1, needs a flow that begins with `use: glow/actnorm`"
"""What to do about a flow that is worse than a density without a flow, and what more if it has no actnorm."""


def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="The part of the data.")] = "test",
    draws: Annotated[int, typer.Option(min=1, help="Draws of dequantization noise to average over.")] = 8,
) -> None:
    """Score a trained flow on its data, beside densities without a flow. Lower is better.

    Scores are mean bits/dim for integer data, and mean nats otherwise. The data must be that which the flow was trained
    on. To score other data, export a bundle and use `flowkit score`.

    Example: flowkit evaluate runs/glow-digits
    """
    from flowkit import train as training
    from flowkit.allocator import keep_freed_memory
    from flowkit.flow import Flow
    from flowkit.spec import walk
    from flowkit.train.baselines import baselines
    from flowkit.train.evaluation import best_device
    from flowkit_runtime.cli.progress import counting

    keep_freed_memory()
    flow = Flow.load(run).to(best_device())
    spec = flow.to_spec()
    data = training.load_run_data(run, spec)
    n, size, accumulate = len(data[split].x), spec.train.batch_size, spec.train.accumulate
    with counting("evaluating", n) as progress:
        figure = training.evaluate(flow, data[split], size, draws, split, accumulate=accumulate, progress=progress)
    echo(f"{split}, {n} events, {flow.printed_unit}, lower is better:")
    others = baselines(data["train"], data[split], flow.levels)
    for name, value in {"flow": figure, **others}.items():
        echo(f"  {name:<16}{value:>8.4f}{MEANINGS.get(name, '')}")
    if better := [name for name, value in others.items() if value < figure]:
        echo(f"the flow is worse than the {' and the '.join(better)}: {LONGER.format(run)}")
        if not any(step.item.name == "glow/actnorm" for step in walk(spec)):
            echo(STANDARDIZE)
