"""Contenders built, run side by side, and what came of each: a row with its times and costs, or why it failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender
from benchmarks.cost import cost
from benchmarks.measure import WARM_UP, Step, interleave
from benchmarks.progress import Progress

Rows = dict[str, dict[str, Any]]
Builder = Callable[[], Contender]
Column = tuple[str, int]
"""A task and its batch size."""


def race(
    builders: Mapping[str, Builder],
    batch: Callable[[int], Tensor],
    columns: Sequence[Column],
    rounds: int,
    progress: Progress,
) -> Rows:
    """A row for each contender: ``parameters``, ``seconds`` by column and round, what a training step costs."""
    rows: Rows = {name: {"seconds": {}} for name in builders}
    contenders = _started(builders, batch(columns[0][1]), rows, progress)
    for column in columns:
        steps = _warm(contenders, batch, column, rows, progress)
        progress.begin(title(column), rounds * len(steps))
        for name, seconds in interleave(steps, rounds, progress.advance).items():
            rows[name]["seconds"][title(column)] = seconds
    _count(contenders, batch(columns[0][1]), rows, progress)
    return rows


def title(column: Column) -> str:
    task, n = column
    return f"{task} B={n}"


def _started(builders: Mapping[str, Builder], x: Tensor, rows: Rows, progress: Progress) -> dict[str, Contender]:
    contenders = {}
    progress.begin("building", len(builders))
    for name, build in builders.items():
        torch.manual_seed(0)

        def start(build: Builder = build) -> Contender:
            contender = build()
            contender.start(x)
            return contender

        if contender := attempt(rows[name], start):
            contenders[name] = contender
            rows[name]["parameters"] = contender.parameters
        progress.advance()
    return contenders


def _warm(
    contenders: Mapping[str, Contender],
    batch: Callable[[int], Tensor],
    column: Column,
    rows: Rows,
    progress: Progress,
) -> dict[str, Step]:
    """The steps that have run WARM_UP times without failing."""
    task, n = column
    steps, x = {}, batch(n)
    progress.begin(f"{title(column)}, warming up", len(contenders))
    for name, contender in contenders.items():

        def warm(contender: Contender = contender) -> Step:
            step = contender.step(task, x)
            for _ in range(WARM_UP):
                step()
            return step

        if step := attempt(rows[name], warm):
            steps[name] = step
        progress.advance()
    return steps


def _count(contenders: Mapping[str, Contender], x: Tensor, rows: Rows, progress: Progress) -> None:
    progress.begin("counting operators and bytes", len(contenders))
    for name, contender in contenders.items():
        if contender.module is not None:
            rows[name] |= attempt(rows[name], lambda c=contender: cost(c.step("train", x), c.module)) or {}
        progress.advance()


def attempt(row: dict[str, Any], action: Callable[[], Any]) -> Any:
    """What the action gives. Nothing if it fails: the row says why, and the others go on."""
    try:
        return action()
    except NotImplementedError:
        return None
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        row["failed"] = f"{type(error).__name__}: {lines[0]}"[:200]
        return None
