"""Implements `flowkit-runtime sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowkit_runtime.cli.options import BundlePath, ContextText, Count, ProviderNames, Seed, Temperature, Threads, names
from flowkit_runtime.cli.terminal import echo


def sample(
    bundle: BundlePath,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="An array (.npy), or of images a picture (.png).")
    ],
    n: Count = 64,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    context: ContextText = None,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Draw samples from an exported bundle, without torch.

    Example: flowkit-runtime sample exports/glow-digits -n 100 --temperature 0.7 -o samples.png
    """
    from flowkit_runtime.cli.events import contexts_of, write_events
    from flowkit_runtime.cli.outputs import EVENTS, bundle_files, check_apart, check_output
    from flowkit_runtime.cli.progress import counting
    from flowkit_runtime.model import load

    check_output(output, EVENTS)
    model = load(bundle, names(providers), threads)
    check_apart(output, bundle_files(model, bundle), context)
    with counting("sampling", n) as progress:
        samples = model.sample(n, seed, temperature, contexts_of(model, context, n), progress=progress)
    write_events(samples, model.levels, output)
    echo(f"{n} samples: {output}")
