"""Implements `flowkit-runtime encode` and `decode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowkit_runtime.cli.options import (
    BundlePath,
    Columns,
    ContextColumns,
    ContextOfData,
    ContextText,
    Data,
    EventsFile,
    ProviderNames,
    Resize,
    Threads,
    wanted,
)
from flowkit_runtime.cli.terminal import echo
from flowkit_runtime.errors import few

if TYPE_CHECKING:
    from flowkit_runtime.cli.events import Encoded

MOST_NAMED = 20
"""The most rows that a message lists."""


def encode(
    bundle: BundlePath,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.npz", help="Write the latents z_1, … here.")],
    columns: Columns = "",
    context_columns: ContextColumns = "",
    context: ContextOfData = None,
    resize: Resize = False,
    check: Annotated[
        bool, typer.Option("--check", help="Decode again, and name the rows that don't come back; then exit with 1.")
    ] = False,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Turn events into latents: an .npz file with the arrays z_1, z_2, …, which decode reads.

    Far from the data, float32 may lose too many digits for an event to be restored. --check decodes each event again
    and names the rows that aren't restored. Integers must come back exactly. For real numbers, an error of 1e-4 of the
    row's largest value is allowed, or of 1e-4 if that value is below 1.

    Example: flowkit-runtime encode exports/moons points.npy -o latents.npz --check
    """
    import numpy as np

    from flowkit_runtime.atomic import replacing
    from flowkit_runtime.cli.events import encoded
    from flowkit_runtime.cli.outputs import check_output, load_apart

    check_output(output, [".npz"])
    model = load_apart(bundle, providers, threads, output, context, data=data)
    result = encoded(model, data, wanted(model, columns, context_columns, context, resize), check)
    with replacing(output) as temporary:
        named: dict[str, Any] = dict(zip(model.latent_names, result.latents, strict=True))
        np.savez(temporary, **named)
    echo(f"{len(result.latents[0])} events encoded: {output}")
    if check:
        echo(_restored(result, model.levels))
    if result.lost:
        raise typer.Exit(1)


def _restored(result: Encoded, levels: int | None) -> str:
    """Return a message that says how many events were restored, and lists those that weren't."""
    n, lost, exactly = len(result.errors), result.lost, "" if levels is None else " exactly"
    largest = max(result.errors, default=0.0)
    error = f"the largest error is {largest:.3g}" + ("" if levels is None else " levels")
    if not lost:
        return f"all {n} events come back{exactly} when they are decoded; {error}"
    rows = few([*map(str, lost)], MOST_NAMED)
    return f"{len(lost)} of {n} events don't come back{exactly}; {error}. Rows, counted from 0: {rows}"


def decode(
    bundle: BundlePath,
    latents: Annotated[Path, typer.Argument(metavar="LATENTS.npz", help="Arrays z_1, …, as encode writes them.")],
    output: EventsFile,
    context: ContextText = None,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Turn latents back into events. This is the inverse of encode.

    Example: flowkit-runtime decode exports/moons latents.npz -o points.npy
    """
    import sys

    from flowkit_runtime.cli.events import contexts_of, write_events
    from flowkit_runtime.cli.outputs import EVENTS, check_output, load_apart
    from flowkit_runtime.cli.progress import counting
    from flowkit_runtime.errors import InputError
    from flowkit_runtime.files import read_npz
    from flowkit_runtime.streaming.sources import naming_rows

    check_output(output, EVENTS)
    model = load_apart(bundle, providers, threads, output, context, input=latents)
    shapes = dict(zip(model.latent_names, model.latent_shapes, strict=True))
    try:
        arrays = list(read_npz(latents, shapes, range(sys.maxsize)).values())
    except (OSError, ValueError) as error:
        raise InputError(f"{latents} can't be read: {error}") from error
    rows, n = contexts_of(model, context)[0], len(arrays[0])
    with counting("decoding", n) as progress, naming_rows(latents):
        events = model.decode(arrays, rows, progress=progress)
    write_events(events, model, output)
    echo(f"{n} events decoded: {output}")
