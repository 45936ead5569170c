"""Defines arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flowkit_runtime.model import Model
    from flowkit_runtime.streaming.sources import Wanted

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="An exported bundle.", show_default=False)]
Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Events, one a row: an array (.npy), a table (.csv, .parquet, .arrow), or a folder of images.",
        show_default=False,
    ),
]
Columns = Annotated[
    str,
    typer.Option(
        metavar="A,B,…", help="The columns of a table that make an event; without it, all others.", show_default=False
    ),
]
ContextColumns = Annotated[
    str, typer.Option(metavar="A,B,…", help="The columns of a table that make its context.", show_default=False)
]
ContextOfData = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="CLASS|FILE",
        help="The context, for all rows or for each: a class or .npy. Contexts in a table are columns of DATA.",
        show_default=False,
    ),
]
ContextText = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS|FILE",
        help="The context, for all rows or for each: a class, .npy, or a table.",
        show_default=False,
    ),
]
EventsFile = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="An array (.npy), a table (.csv, .parquet), or of images a picture (.png).",
    ),
]
Resize = Annotated[
    bool, typer.Option("--resize", help="Crop the centre of images to the aspect ratio of events, then resize them.")
]
Count = Annotated[int, typer.Option("-n", min=1, help="The number of samples; for each row of a --context file.")]
Temperature = Annotated[
    float, typer.Option(min=0, help="Scales the noise: below 1 gives likelier, less varied samples.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same noise.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the errors on all groups of events.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that onnxruntime may use; without it, one a core.", show_default=False),
]

ProviderNames = Annotated[
    str | None,
    typer.Option(
        "--providers",
        metavar="A,B,…",
        help="Execution providers of onnxruntime, such as CUDAExecutionProvider; without it, CUDA if it works here.",
        show_default=False,
    ),
]


def names(text: str | None) -> list[str] | None:
    """Return the names in a comma-separated list, or None if the option wasn't given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def wanted(
    model: Model, columns: str, context_columns: str, context: str | None, resize: bool, seed: int = 0
) -> Wanted:
    """Return the model's requirements, and the part of the data to read. ``seed`` is that of noise in tables."""
    from flowkit_runtime.streaming.sources import Wanted

    # Names of columns may begin with a space, so nothing is stripped.
    listed, of_context = (tuple(filter(None, text.split(","))) for text in (columns, context_columns))
    return Wanted(
        event_shape=model.event_shape,
        levels=model.levels,
        context=model.context,
        columns=listed,
        context_columns=of_context,
        context_from=context,
        resize=resize,
        preprocessing=model.preprocessing,
        seed=seed,
    )
