"""`flowkit score`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    import numpy as np


def score(
    bundle: Annotated[Path, typer.Argument(help="An exported bundle.", show_default=False)],
    data: Annotated[Path, typer.Argument(metavar="DATA.npy", help="Events [n, *event].", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npy", help="Write the scores [n] here.")
    ] = None,
    context: Annotated[
        Path | None, typer.Option("--context", metavar="FILE.npy", help="The context of each event.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of dequantization noise to average over.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of that noise.")] = 0,
) -> None:
    """Score events with an exported bundle, without torch: bits/dim for integer data, nats otherwise.

    Lower is likelier.

    Example: flowkit score exports/glow-digits digits.npy -o scores.npy
    """
    import numpy as np
    from rich.console import Console

    import flowkit_runtime
    from flowkit.files import replacing

    model = flowkit_runtime.load(bundle)
    events, contexts = _read(data), None if context is None else _read(context)
    with Console(stderr=True).status(f"scoring {len(events)} events …"):
        scores = model.score(events, contexts, draws, seed)
    if output is not None:
        with replacing(output) as temporary, temporary.open("wb") as file:
            np.save(file, scores)
    unit = "nats" if model.levels is None else "bits/dim"
    if len(scores):
        low, middle, high = np.quantile(scores, [0.05, 0.5, 0.95])
        echo(f"mean {scores.mean():.4f} {unit}, median {middle:.4f}, 90% within {low:.4f} … {high:.4f}")
    echo(f"{len(scores)} events scored" + (f": {output}" if output else ""))


def _read(path: Path) -> np.ndarray:
    from flowkit.errors import DataError
    from flowkit_runtime.files import map_npy

    try:
        return map_npy(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as .npy: {error}") from error
