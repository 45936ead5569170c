"""`flowkit new`"""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import echo


def new(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .npy file of events \\[n, d] or \\[n, channels, height, width]; a directory with MNIST's files; "
            "or a dataset as specs name it: '{use: data/digits}'.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="SPEC", help="The spec to write.")],
    context: Annotated[
        Path | None,
        typer.Option("--context", metavar="FILE.npy", help="What to condition on: a label or an array for each event."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a spec that is there.")] = False,
) -> None:
    """Write a spec for your data to start from: the event, a flow that fits it, and how to train it, with reasons.

    Integers become data with levels, floats continuous data.

    Example: flowkit new points.npy -o points.yaml
    """
    if output.suffix not in (".yaml", ".yml"):
        raise typer.BadParameter(f"{output} must end with .yaml or .yml", param_hint="--output")

    import shlex

    from flowkit.errors import InputError
    from flowkit.spec import read_spec
    from flowkit.starting import look, starting_spec
    from flowkit_runtime.atomic import replacing

    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: choose another name, or --overwrite it")
    seen = look(data, context)
    text = starting_spec(seen)
    read_spec(text)  # whatever is wrong with it, nothing wrong is written
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for doubt in seen.doubts:
        echo(f"warning: {doubt}", err=True)
    spec = shlex.quote(str(output))
    echo(f"{output}: {seen}\nnext:  flowkit show {spec}\n       flowkit train {spec}")
