"""Reports the progress of training: a bar on a terminal or in a notebook, some lines otherwise."""

from __future__ import annotations

import time
from datetime import timedelta
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowkit.train.checkpoint import Row
from flowkit.train.step import Fitting

LINES, SECONDS = 6, 60
"""A pipe gets about so many lines, and another one whenever it got none for so long."""
YEAR = 365 * 24 * 3600
"""A year in seconds."""


def describe(row: Row, unit: str) -> str:
    """Return the figures of one epoch as text."""
    val = "" if row.val is None else f"  val {row.val:.4f}"
    drift = "" if row.drift is None else f"  drift {row.drift:.1e}"
    return f"train {row.train:.4f}{val} {unit}{drift}"


def shows_bars(console: Console) -> bool:
    """Return True if the console can redraw a bar. In a notebook, rich needs ipywidgets for that.

    A pipe can't, even if FORCE_COLOR says that it takes colours, which rich takes for a terminal.
    """
    is_screen = console.is_terminal and console.file.isatty()
    return is_screen or (console.is_jupyter and find_spec("ipywidgets") is not None)


def time_left(bar: Progress) -> str:
    """Return the time that the only task of a bar will take, as text that can follow a line.

    It is empty if the time is unknown, or longer than a year: then there is no limit but ``patience``.
    """
    seconds = bar.tasks[0].time_remaining
    return f"  {timedelta(seconds=int(seconds))} left" if seconds and seconds < YEAR else ""


class Report:
    """Shows the progress of the whole run, the time that is left, and the figures of the last epoch.

    Progress is counted in steps, or in seconds if the time is limited. ``bar`` is the display, and a context manager
    that shows it. If the console can't show bars, it gets a line for the first epoch and the last, and for a validated
    one now and then.
    """

    def __init__(self, console: Console, fitting: Fitting):
        self.console, self.fitting, self._redraws = console, fitting, shows_bars(console)
        words, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        unit = TextColumn("" if fitting.stopwatch.limit is None else "s")
        columns = (words, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn(), figures)
        self.bar = Progress(
            *columns, console=console, refresh_per_second=4, speed_estimate_period=600, disable=not self._redraws
        )
        self._total = fitting.stopwatch.limit or fitting.steps
        self._task = self.bar.add_task("", total=self._total, completed=self._done, figures="")
        self._last_line: tuple[float, float] | None = None  # the part of the run, and the time

    def start_epoch(self, epoch: int) -> None:
        """Show that an epoch begins. Epochs count from 1."""
        self.bar.update(self._task, description=self._name(epoch))

    def end_step(self) -> None:
        """Update the progress after a step."""
        self.bar.update(self._task, completed=self._done)

    def end_epoch(self, row: Row, last: bool) -> None:
        """Show the figures of an epoch after its end. ``last`` says that the training ends with it."""
        figures = describe(row, self.fitting.flow.printed_unit)
        self.bar.update(self._task, completed=self._done, figures=figures)
        self.bar.refresh()  # in a notebook, rich doesn't draw the last state by itself
        if not self._redraws and (last or self._is_due(row)):
            left = "" if last else time_left(self.bar)
            line = f"{self._name(row.epoch)}  {figures}  lr {row.lr:.2g}{left}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def end(self, epoch: int, reason: str) -> None:
        """Say why the training ended with this epoch, unless it was the last that was planned."""
        if epoch != self.fitting.settings.epochs:
            self.console.print(f"stopped after epoch {epoch}: {reason}", highlight=False, soft_wrap=True)

    def _is_due(self, row: Row) -> bool:
        part, now = LINES * self._done // self._total, time.monotonic()
        if self._last_line is not None:
            passed = part > self._last_line[0] or now - self._last_line[1] >= SECONDS
            if row.val is None or not passed:
                return False
        self._last_line = part, now
        return True

    @property
    def _done(self) -> int:
        watch = self.fitting.stopwatch
        return self.fitting.global_step if watch.limit is None else int(watch.seconds)

    def _name(self, epoch: int) -> str:
        epochs = self.fitting.settings.epochs
        return f"epoch {epoch}" if epochs is None else f"epoch {epoch}/{epochs}"
