"""Implements `flowkit show`."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowkit.cli.options import Overrides
from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from flowkit.spec import Spec

Format = Literal["table", "json", "dot", "svg"]

SUFFIXES: dict[str, Format] = {".txt": "table", ".json": "json", ".dot": "dot", ".svg": "svg"}


def show(
    spec: Annotated[Path, typer.Argument(help="A spec file.", show_default=False)],
    format: Annotated[
        Format | None,
        typer.Option(help="By default FILE's suffix decides; without FILE it is a table.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here: .txt, .json, .dot or .svg.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Show the flow that a spec builds: layers, event shapes, parameters. Nothing is trained.

    It is shown as a table, as JSON for programs, as a graph for Graphviz, or as a picture.

    Example: flowkit show specs/glow-digits.yaml -o glow-digits.svg
    """
    if output is not None and format is None and output.suffix not in SUFFIXES:
        raise typer.BadParameter(f"{output} must end with {', '.join(SUFFIXES)}, or give a --format", param_hint="-o")

    from rich.console import Console

    from flowkit.spec import read_spec
    from flowkit_runtime.atomic import replacing

    flow = read_spec(spec, overrides or ())
    if output is None:
        if format in ("dot", "svg") and isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # without a declaration, dot and XML are UTF-8 everywhere
        return _write(flow, format or "table", Console(markup=False))
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write(flow, format or SUFFIXES[output.suffix], Console(file=file, width=120, markup=False))
    echo(f"{spec}: {output}")


def _write(spec: "Spec", form: Format, console: "Console") -> None:
    import json

    from flowkit.spec import views

    if form in ("dot", "svg"):
        console.file.write(views.dot(spec) if form == "dot" else views.svg(spec))
        return
    facts = _facts(spec)
    if form == "json":
        console.file.write(json.dumps(facts, indent=2) + "\n")
    else:
        if facts["dequantization"]:
            console.print("dequantization: the noise u in [0, 1), given the event", highlight=False)
            console.print(_table(facts["dequantization"]))
            console.print()
        console.print(_table(facts))
        console.print()
        console.print(_summary(facts), highlight=False, soft_wrap=True)


def _facts(spec: "Spec") -> dict[str, Any]:
    from flowkit.flow.building import count_parameters  # imports torch
    from flowkit.spec import dequantizer, views

    noise = dequantizer(spec)
    described = None if noise is None else _facts(noise)
    return views.as_dict(spec, *count_parameters(spec), described)


def _table(facts: dict[str, Any]) -> "Table":
    """Return a row for each layer of the spec at each event shape, and for each base with parameters.

    Repeats are counted, not listed.
    """
    from rich.table import Table

    from flowkit.plugin.spelling import line

    steps = facts["steps"]
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for step in steps:
        rows.setdefault((step["path"], str(step["input_shape"]), line(step["domain"])), []).append(step)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    bounded = any(step["domain"] != "real" for step in steps)  # a column for it only then
    for title in ("layer", "times", "event", *(["domain"] if bounded else []), "becomes", "leaves", "parameters"):
        table.add_column(title, justify="right" if title in ("times", "parameters") else "left")
    if (encoder := facts["encoder"]) is not None:
        shapes = str(encoder["input_shape"]), *(["real"] if bounded else []), str(encoder["output_shape"])
        table.add_row(f"context: {encoder['name']}", "", *shapes, "", f"{encoder['parameters']:,}")
    for (_, event, domain), times in rows.items():
        becomes, leaves = str(times[0]["output_shape"]), str(times[0]["latent_shape"] or "")
        parameters = sum(step["parameters"] for step in times)
        becomes = "" if becomes == event else becomes
        reached = [domain] if bounded else []
        table.add_row(times[0]["name"], f"× {len(times)}", event, *reached, becomes, leaves, f"{parameters:,}")
    for base, latent in zip(facts["bases"], facts["latents"], strict=True):
        if base["parameters"]:
            blank = [""] * (3 if bounded else 2)
            table.add_row(base["name"], "", str(latent), *blank, f"{base['parameters']:,}")
    return table


def _summary(facts: dict[str, Any]) -> str:
    event, latents = facts["event"], " + ".join(map(str, facts["latents"]))
    one_way = "" if facts["directions"] == "both" else f"{facts['directions']} only, "
    data = f"integers below {event['levels']}" if "levels" in event else "continuous"
    names = [base["name"] for base in facts["bases"]]
    bases = f"base {names[0]}" if len(set(names)) == 1 else f"bases {', '.join(names)}"
    return (
        f"event {event['shape']} ({data}) -> latents {latents}, {bases}\n"
        f"{facts['parameters']:,} parameters, {one_way}{facts['likelihood']} likelihood, model {facts['model'][:12]}"
    )
