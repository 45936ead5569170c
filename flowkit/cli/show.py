"""`flowkit show`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.options import Overrides

if TYPE_CHECKING:
    from rich.table import Table

    from flowkit.spec import Spec, Step


def show(
    spec: Annotated[Path, typer.Argument(help="A spec file.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Print the flow that a spec builds: layers, event shapes, parameters. Nothing is trained.

    Example: flowkit show specs/glow-digits.yaml
    """
    from rich.console import Console

    from flowkit.flow.assembly import count_parameters
    from flowkit.spec import read_spec, walk

    flow = read_spec(spec, overrides or ())
    steps, parameters = walk(flow), count_parameters(flow)
    console = Console()
    console.print(_table(steps, parameters))
    console.print(_summary(flow, sum(parameters)), highlight=False)


def _table(steps: list[Step], parameters: list[int]) -> Table:
    """One row for each layer of the spec at each event shape; repeats are counted, not listed."""
    from rich.table import Table

    rows: dict[object, list[int]] = {}
    names: dict[object, Step] = {}
    for step, count in zip(steps, parameters, strict=True):
        key = (step.path, step.input_shape)
        names[key] = step
        rows.setdefault(key, []).append(count)
    table = Table(box=None, header_style="bold")
    for title in ("layer", "times", "event", "becomes", "parameters"):
        table.add_column(title, justify="right" if title in ("times", "parameters") else "left")
    for row, counts in rows.items():
        step = names[row]
        cells = (
            step.name,
            f"× {len(counts)}",
            str(list(step.input_shape)),
            _becomes(step),
            f"{sum(counts):,}",
        )
        table.add_row(*cells)
    return table


def _becomes(step: Step) -> str:
    if step.latent_shape:
        return f"{list(step.output_shape)}, {list(step.latent_shape)} leaves"
    return "" if step.output_shape == step.input_shape else str(list(step.output_shape))


def _summary(spec: Spec, parameters: int) -> str:
    from flowkit.spec import latent_shapes, likelihood, model_hash

    latents = " + ".join(str(list(shape)) for shape in latent_shapes(spec))
    data = f"integers below {spec.event.levels}" if spec.event.levels else "continuous"
    return (
        f"\nevent {list(spec.event.shape)} ({data}) -> latents {latents}, base {spec.base.name}\n"
        f"{parameters:,} parameters, {likelihood(spec)} likelihood, model {model_hash(spec)[:12]}"
    )
