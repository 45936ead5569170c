"""Implements `flowkit sample`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.terminal import echo
from flowkit.errors import InputError
from flowkit_runtime.cli.options import Count, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from flowkit.flow import Flow


def sample(
    run: Annotated[Path, typer.Argument(help="A finished run.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A picture (.png) or an array (.npy).")
    ],
    n: Count = 64,
    temperature: Temperature = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same samples.")] = 0,
    context: Annotated[
        str | None,
        typer.Option(metavar="CLASS|FILE.npy", help="The context, or a file of them. \\[default: each class in turn]"),
    ] = None,
) -> None:
    """Draw samples from a trained flow.

    Example: flowkit sample runs/glow-digits -n 100 --temperature 0.7 -o samples.png
    """
    from flowkit.allocator import keep_freed_memory
    from flowkit.flow import Flow
    from flowkit.train import read_results
    from flowkit.train.evaluation import best_device
    from flowkit.train.pictures import save_samples
    from flowkit_runtime.cli.outputs import check_apart, check_output
    from flowkit_runtime.streaming.tables import TABLES

    if output.suffix in TABLES:
        draw = _by_bundle(run, output, f"--context {context} " if context else "")
        raise InputError(f"{output}: a run draws pictures and arrays, a bundle draws tables: {draw}")
    check_output(output, [".png", ".npy"])
    check_apart(output, context)
    keep_freed_memory()
    flow = Flow.load(run).to(best_device())
    classes = tuple(read_results(run).classes or ())
    _check_no_columns(flow, context, run)
    given = _contexts(flow, context, n, classes)
    rows = 1 if given is None else len(given)
    samples = flow.sample((rows, n), given, temperature, seed).flatten(0, 1)
    each = None if given is None else given.expand(rows, n, *given.shape[2:]).flatten(0, 1)
    save_samples(samples.cpu(), None if each is None else each.cpu(), flow.levels, output, classes)
    echo(f"{rows * n} samples: {output}")


def _by_bundle(run: Path, output: str | Path, options: str = "") -> str:
    return f"flowkit export {run} -o DIR, then flowkit-runtime sample DIR {options}-o {output}"


def _check_no_columns(flow: "Flow", given: str | None, run: Path) -> None:
    """Raise InputError if columns of a table make the context, and it isn't given as an array."""
    from flowkit_runtime.errors import shortened
    from flowkit_runtime.streaming.sources import context_file

    table = flow.to_spec().preprocessing
    if table is None or not table.context or context_file(given) is not None:
        return
    why = "this flow needs a context" if given is None else f"the context {shortened(repr(given))} is no .npy file"
    draw = _by_bundle(run, "samples.csv", f"--context {given or 'FILE.csv'} ")
    raise InputError(f"{why}: a bundle takes a table with {shortened(table.context_columns)}: {draw}")


def _contexts(flow: "Flow", given: str | None, n: int, names: tuple[str, ...]) -> "Tensor | None":
    """Return the contexts [rows, 1, *shape], each for n samples, or n labels [1, n]."""
    import torch

    from flowkit_runtime.bundle import Context
    from flowkit_runtime.streaming.sources import Wanted, all_contexts

    own = flow.context
    if given is None and own is not None and own.classes is not None:
        return (torch.arange(n, device=flow.device) % own.classes)[None]
    spec = None if own is None else Context(own.shape or (), own.classes, names)
    rows = all_contexts(Wanted(flow.event_shape, flow.levels, spec, context_from=given))
    return None if rows is None else torch.tensor(rows, device=flow.device)[:, None]
