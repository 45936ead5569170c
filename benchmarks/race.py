"""Contenders built, run side by side, and what came of each: a row with its times and costs, or why it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender
from benchmarks.cost import cost
from benchmarks.measure import WARM_UP, Step, interleave, timed
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
    """A row for each contender: ``parameters``, ``first``, ``seconds`` by column and round, and what cost() says."""
    rows: Rows = {name: {"seconds": {}} for name in builders}
    contenders = started(builders, batch(columns[0][1]), rows, progress)
    for column in columns:
        steps = _warm(contenders, batch, column, rows, progress)
        progress.begin(title(column), rounds * len(steps))
        for name, seconds in interleave(steps, rounds, progress.advance).items():
            rows[name]["seconds"][title(column)] = seconds
    for name, costs in counted(contenders, batch(columns[0][1]), progress).items():
        rows[name] |= costs
    return rows


def title(column: Column) -> str:
    task, n = column
    return f"{task} B={n}"


def started(builders: Mapping[str, Builder], x: Tensor, rows: Rows, progress: Progress) -> dict[str, Contender]:
    """The contenders that could be built, from the same seed, and started on x."""
    contenders = {}
    progress.begin("building", len(builders))
    for name, build in builders.items():
        with attempt(rows[name]):
            torch.manual_seed(0)
            contender = build()
            contender.start(x)
            contenders[name] = contender
            rows[name]["parameters"] = contender.parameters
        progress.advance()
    return contenders


def counted(contenders: Mapping[str, Contender], x: Tensor, progress: Progress) -> Rows:
    """What a training step on x costs each, but for time."""
    rows: Rows = {name: {} for name in contenders}
    progress.begin("counting operators and bytes", len(contenders))
    for name, contender in contenders.items():
        if contender.module is not None:  # flowjax's operators are XLA's
            with attempt(rows[name]):
                rows[name] = cost(contender.step("train", x), contender.module)
        progress.advance()
    return rows


def _warm(
    contenders: Mapping[str, Contender],
    batch: Callable[[int], Tensor],
    column: Column,
    rows: Rows,
    progress: Progress,
) -> dict[str, Step]:
    """The steps that have run WARM_UP times without failing. How long the very first took is noted."""
    task, n = column
    steps = {}
    progress.begin(f"{title(column)}, warming up", len(contenders))
    for name, contender in contenders.items():
        with attempt(rows[name]):
            step = contender.step(task, batch(n))
            rows[name].setdefault("first", timed(step))
            for _ in range(WARM_UP - 1):
                step()
            steps[name] = step
        progress.advance()
    return steps


@contextmanager
def attempt(row: dict[str, Any]) -> Iterator[None]:
    """What fails inside does not end the run: the row says why, and the others go on."""
    try:
        yield
    except NotImplementedError:
        return  # a task that the contender doesn't have
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        row["failed"] = f"{type(error).__name__}: {lines[0]}"[:200]
