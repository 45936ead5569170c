"""`flowkit sample`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.terminal import echo
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
        typer.Option(metavar="LABEL|FILE.npy", help="What to condition on. [default: each label in turn]"),
    ] = None,
) -> None:
    """Draw samples from a trained flow.

    Example: flowkit sample runs/glow-digits -n 100 --temperature 0.7 -o samples.png
    """
    if output.suffix not in (".png", ".npy"):
        raise typer.BadParameter(f"{output} must end with .png or .npy", param_hint="--output")

    from flowkit.allocator import keep_freed_memory
    from flowkit.flow import Flow
    from flowkit.train.evaluation import best_device
    from flowkit.train.pictures import save_samples

    keep_freed_memory()
    flow = Flow.load(run).to(best_device())
    samples = flow.sample(n, _context(flow, context, n), temperature, seed)
    save_samples(samples.cpu(), flow.levels, output)
    echo(f"{n} samples: {output}")


def _context(flow: Flow, text: str | None, n: int) -> Tensor | None:
    import torch

    from flowkit.errors import InputError
    from flowkit_runtime.streaming.sources import read_npy

    classes = flow.context.classes if flow.context else None
    if text is None:
        return None if classes is None else torch.arange(n, device=flow.device) % classes
    if not text.endswith(".npy"):
        if not text.isdecimal():
            raise InputError(f"--context {text}: give a label, or a .npy file")
        return torch.tensor(int(text), device=flow.device)
    array = read_npy(Path(text))
    if array.dtype.kind not in "biuf":
        raise InputError(f"--context {text} holds {array.dtype}, not numbers")
    return torch.tensor(array.astype(array.dtype.newbyteorder("=")), device=flow.device)
