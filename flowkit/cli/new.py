"""Implements `flowkit new`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import echo


def new(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A table (.csv, .parquet, .arrow, .feather); a .npy file of events \\[n, d] or "
            "\\[n, channels, height, width]; a folder of images, or of a folder for each class; a directory with "
            "MNIST's files; or a dataset as specs name it: '{use: data/digits}'.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="SPEC", help="The spec to write. \\[default: DATA's name, .yaml]"),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="The columns of a table whose density is learned.", show_default=False),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…|FILE.npy",
            help="The context: columns of a table; or a label or an array for each event of a .npy file.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column of a table with the class of each row; '' for none.", show_default=False
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column of a table with the weight of each row; '' for none.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a spec that is there.")] = False,
) -> None:
    """Write a spec for your data to start from: the event, a flow that fits it, and how to train it, with reasons.

    Integers become data with levels, floats continuous data. In a table, columns of numbers make
    the event, and categories and times its context, unless you name the columns. Columns with labels and weights of
    rows are recognized by their names, too.

    Example: flowkit new houses.csv --event price,area --context city
    """
    name = "" if data.lstrip().startswith("{") else Path(os.path.abspath(data)).stem  # `.` has a name, too
    output = output or Path(f"{name or 'spec'}.yaml")
    if output.suffix not in (".yaml", ".yml"):
        raise typer.BadParameter(f"{output} must end with .yaml or .yml", param_hint="--output")

    import shlex

    from flowkit.errors import InputError
    from flowkit.spec import read_spec
    from flowkit.starting import look, starting_spec
    from flowkit_runtime.atomic import make_parent, replace_text

    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: choose another name, or --overwrite it")
    seen = look(data, context, event, label, weight)
    text = starting_spec(seen)
    read_spec(text)  # whatever is wrong with it, nothing wrong is written
    make_parent(output)
    replace_text(output, text)
    for doubt in seen.doubts:
        echo(f"warning: {doubt}", err=True)
    spec = shlex.quote(str(output))
    echo(f"{output}: {seen}\nnext:  flowkit show {spec}\n       flowkit train {spec}")
