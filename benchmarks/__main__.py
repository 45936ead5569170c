"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import environment, plot, report
from benchmarks.groups import GROUPS, Run
from benchmarks.progress import Progress
from flowkit.allocator import keep_freed_memory

QUICK, FULL = 5, 25
"""Rounds."""


def main(
    group: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(GROUPS)}; all by default.")] = None,
    rounds: Annotated[int | None, typer.Option(help=f"Times that each step is timed. {FULL} by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK} rounds.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Contenders of this name, * for any part of it; the limit always.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda.")] = "cpu",
    results: Annotated[Path, typer.Option("--json", help="Where results go, and where others' stay.")] = Path(
        "runs/speed.json"
    ),
    docs: Annotated[Path | None, typer.Option(help="The directory whose speed.md and speed.svg are written.")] = None,
) -> None:
    """Time flowkit beside its peers and beside the limit.

    For example: python -m benchmarks glow --only 'flowkit*' --only nflows --rounds 10
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(environment.cores())
    keep_freed_memory()
    chosen = group or list(GROUPS)
    if unknown := set(chosen) - set(GROUPS):
        raise typer.BadParameter(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    measured = json.loads(results.read_text("utf-8")) if results.exists() else {}
    with Progress() as progress:
        for name in chosen:
            progress.part = name
            run = Run(rounds or (QUICK if quick else FULL), torch.device(device), progress, tuple(only or ()))
            rows = GROUPS[name](run)
            measured[name] = {"environment": environment.describe(device), "rounds": run.rounds, "rows": rows}
            print(report.report({name: measured[name]}), end="\n\n")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(measured, indent=1), "utf-8")
    if docs:
        report.write_section(docs / "speed.md", report.report(measured))
        plot.write(measured, docs / "speed.svg")


if __name__ == "__main__":
    typer.run(main)
