"""Implements `flowkit-runtime interpolate`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowkit_runtime.cli.options import (
    BundlePath,
    Columns,
    ContextText,
    Data,
    EventsFile,
    ProviderNames,
    Resize,
    Threads,
)
from flowkit_runtime.cli.terminal import echo


def interpolate(
    bundle: BundlePath,
    data: Data,
    a: Annotated[int, typer.Argument(metavar="A", min=0, help="The row of DATA to begin with.", show_default=False)],
    b: Annotated[int, typer.Argument(metavar="B", min=0, help="The row to end with.", show_default=False)],
    output: EventsFile,
    n: Annotated[int, typer.Option("-n", min=2, help="The number of steps, both ends included.")] = 9,
    columns: Columns = "",
    context: ContextText = None,
    resize: Resize = False,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Interpolate between two events, along an arc between their latents. Rows count from 0.

    Example: flowkit-runtime interpolate exports/glow-digits digits.npy 3 8 -o steps.png
    """
    from flowkit_runtime.cli.events import contexts_of, event, write_events
    from flowkit_runtime.cli.outputs import EVENTS, check_output, load_apart

    check_output(output, EVENTS)
    model = load_apart(bundle, providers, threads, output, context, data=data)
    first, last = (event(model, data, columns, resize, row) for row in (a, b))
    write_events(model.interpolate(first, last, n, contexts_of(model, context)[0]), model, output)
    echo(f"{n} events from row {a} to row {b}: {output}")
