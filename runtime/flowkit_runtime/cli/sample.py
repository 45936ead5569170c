"""Implements `flowkit-runtime sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowkit_runtime.cli.options import (
    BundlePath,
    ContextText,
    Count,
    EventsFile,
    ProviderNames,
    Seed,
    Temperature,
    Threads,
    names,
)
from flowkit_runtime.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit_runtime.inputs import Array
    from flowkit_runtime.model import Model


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

    A flow that was trained on a table takes its contexts from a table, too: -n samples for each row.

    Example: flowkit-runtime sample exports/glow-digits -n 100 --temperature 0.7 -o samples.png
    """
    from flowkit_runtime.cli.events import write_events
    from flowkit_runtime.cli.outputs import EVENTS, bundle_files, check_apart, check_output
    from flowkit_runtime.cli.progress import counting
    from flowkit_runtime.model import load

    check_output(output, EVENTS)
    model = load(bundle, names(providers), threads)
    check_apart(output, bundle_files(model, bundle), context)
    given, beside = _contexts(model, context, n)
    total = n if given is None or beside is None else len(given)
    with counting("sampling", total) as progress:
        samples = model.sample(total, given, temperature, seed, progress=progress)
    write_events(samples, model, output, beside)
    echo(f"{total} samples: {output}")


def _contexts(model: Model, given: str | None, n: int) -> tuple[Array | None, dict[str, Any] | None]:
    """Return a context for each sample, and of a table the columns that they come from, to write beside the samples."""
    import numpy as np

    from flowkit_runtime.cli.events import context_table, contexts_of, read_contexts, table_contexts

    if (path := context_table(given)) is None:
        return contexts_of(model, given, n), None
    columns = read_contexts(model, path)
    contexts = table_contexts(model, path, columns)
    rows = np.repeat(np.arange(len(contexts)), n)
    return contexts[rows], {name: column.take(rows) for name, column in columns.items()}
