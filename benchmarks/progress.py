"""A progress bar that draws between steps only: one that draws from a thread of its own would be timed with them."""

from __future__ import annotations

from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TimeElapsedColumn


class Progress:
    """A bar for what is under way. ``with Progress() as progress``."""

    def __init__(self) -> None:
        self.bar = Bar(
            *Bar.get_default_columns(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self.task = self.bar.add_task("")
        self.part, self.drawn = "", 0.0

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def begin(self, description: str, total: int) -> None:
        """Start at 0 with something new."""
        self.bar.reset(self.task, description=f"{self.part} {description}", total=total)
        self._draw()
        if not self.bar.console.is_terminal:
            self.bar.log(f"{self.part} {description}")

    def advance(self) -> None:
        """One more is done."""
        self.bar.advance(self.task)
        if monotonic() - self.drawn > 0.5:
            self._draw()

    def _draw(self) -> None:
        self.bar.refresh()
        self.drawn = monotonic()
