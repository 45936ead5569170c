"""Shows progress on a terminal: a bar with the count, the rate and the time left, or the step that is being done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of rows done. If that exceeds an estimated total, the total grows."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done, total=max(total, done))


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with the name of each step of a work whose end can't be foretold.

    The step and the time since the beginning are shown, and disappear at the end.
    """
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what)
        yield lambda step: shown.update(task, description=f"{what}: {step}")


def _bar() -> Progress:
    from rich.console import Console  # imported here because it takes a tenth of the time to score one event
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """The number of rows per second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")

    done = TextColumn("{task.completed:,} of {task.total:,}")
    columns = TextColumn("{task.description}"), BarColumn(), done, Rate(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))
