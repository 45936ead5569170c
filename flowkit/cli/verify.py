"""`flowkit verify`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import echo


def verify(bundle: Annotated[Path, typer.Argument(help="An exported bundle.", show_default=False)]) -> None:
    """Check a bundle here and now: its files, and both graphs in onnxruntime against the fp64 model's answers.

    Example: flowkit verify exports/glow-digits
    """
    from flowkit_runtime import verification

    echo(verification.table(verification.verify(bundle)))
    echo(f"{bundle}: verified at batch sizes {', '.join(map(str, verification.BATCH_SIZES))}")
