"""Implements `flowkit-runtime sample`."""

from __future__ import annotations

from flowkit_runtime.cli.options import (
    BundlePath,
    ContextText,
    Count,
    EventsFile,
    ProviderNames,
    Seed,
    Temperature,
    Threads,
)
from flowkit_runtime.cli.terminal import echo


def sample(
    bundle: BundlePath,
    output: EventsFile,
    n: Count = 64,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    context: ContextText = None,
    threads: Threads = None,
    providers: ProviderNames = None,
) -> None:
    """Draw samples from an exported bundle, without torch.

    A flow that was trained on a table takes its contexts from a table, too, others from a .npy file: -n samples for
    each row.

    Example: flowkit-runtime sample exports/glow-digits -n 100 --temperature 0.7 -o samples.png
    """
    import numpy as np

    from flowkit_runtime.cli.events import contexts_of, write_events
    from flowkit_runtime.cli.outputs import EVENTS, check_output, load_apart
    from flowkit_runtime.cli.progress import counting

    check_output(output, EVENTS)
    model = load_apart(bundle, providers, threads, output, context)
    given, columns = contexts_of(model, context)
    rows = 1 if given is None else len(given)
    with counting("sampling", rows * n) as progress:
        each = None if given is None else given[:, None]
        samples = model.sample((rows, n), each, temperature, seed, progress=progress)
    beside = columns and {name: column.take(np.repeat(np.arange(rows), n)) for name, column in columns.items()}
    write_events(samples.reshape(-1, *model.event_shape), model, output, beside)
    echo(f"{rows * n} samples: {output}")
