"""A bar on the terminal: how many, how fast, how long still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of rows done; where it passes an estimated total, the total grows."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done, total=max(total, done))


def _bar() -> Progress:
    from rich.console import Console  # here, as it takes a tenth of the time in which one event is scored
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Rows a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")

    done = TextColumn("{task.completed:,} of {task.total:,}")
    columns = TextColumn("{task.description}"), BarColumn(), done, Rate(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))
