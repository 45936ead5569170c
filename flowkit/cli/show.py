"""`flowkit show`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowkit.cli.options import Overrides
from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from flowkit.spec import Spec, Step

Format = Literal["table", "json", "dot", "svg"]

SUFFIXES: dict[str, Format] = {".txt": "table", ".json": "json", ".dot": "dot", ".svg": "svg"}


def show(
    spec: Annotated[Path, typer.Argument(help="A spec file.", show_default=False)],
    format: Annotated[
        Format | None, typer.Option(help="By default what FILE's suffix says, otherwise a table.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here: .txt, .json, .dot or .svg.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Show the flow that a spec builds: layers, event shapes, parameters. Nothing is trained.

    As a table, as JSON for programs, as a graph for Graphviz, or as a picture.

    Example: flowkit show specs/glow-digits.yaml -o glow-digits.svg
    """
    if output is not None and format is None and output.suffix not in SUFFIXES:
        raise typer.BadParameter(f"{output} must end with {', '.join(SUFFIXES)}, or give a --format", param_hint="-o")

    from rich.console import Console

    from flowkit.spec import read_spec
    from flowkit_runtime.atomic import replacing

    flow = read_spec(spec, overrides or ())
    if output is None:
        return _write(flow, format or "table", Console())
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write(flow, format or SUFFIXES[output.suffix], Console(file=file, width=120))
    echo(f"{spec}: {output}")


def _write(spec: Spec, form: Format, console: Console) -> None:
    import json

    from flowkit.spec import views, walk

    if form == "dot":
        console.file.write(views.dot(spec))
    elif form == "svg":
        console.file.write(views.svg(spec))
    else:
        from flowkit.flow.building import count_parameters  # seconds: torch

        parameters = count_parameters(spec)
        if form == "json":
            console.file.write(json.dumps(views.as_dict(spec, parameters), indent=2) + "\n")
        else:
            console.print(_table(walk(spec), parameters))
            console.print()
            console.print(_summary(spec, sum(parameters)), highlight=False, soft_wrap=True)


def _table(steps: Sequence[Step], parameters: Sequence[int]) -> Table:
    """One row for each layer of the spec at each event shape; repeats are counted, not listed."""
    from rich.table import Table

    rows: dict[object, list[int]] = {}
    names: dict[object, Step] = {}
    for step, count in zip(steps, parameters, strict=True):
        key = (step.path, step.input_shape)
        names[key] = step
        rows.setdefault(key, []).append(count)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for title in ("layer", "times", "event", "becomes", "leaves", "parameters"):
        table.add_column(title, justify="right" if title in ("times", "parameters") else "left")
    for row, counts in rows.items():
        step = names[row]
        becomes = "" if step.output_shape == step.input_shape else str(list(step.output_shape))
        leaves = str(list(step.latent_shape)) if step.latent_shape else ""
        table.add_row(step.name, f"× {len(counts)}", str(list(step.input_shape)), becomes, leaves, f"{sum(counts):,}")
    return table


def _summary(spec: Spec, parameters: int) -> str:
    from flowkit.spec import latent_shapes, likelihood, model_hash

    latents = " + ".join(str(list(shape)) for shape in latent_shapes(spec))
    data = f"integers below {spec.event.levels}" if spec.event.levels else "continuous"
    return (
        f"event {list(spec.event.shape)} ({data}) -> latents {latents}, base {spec.base.name}\n"
        f"{parameters:,} parameters, {likelihood(spec)} likelihood, model {model_hash(spec)[:12]}"
    )
