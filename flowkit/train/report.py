"""Reports the progress of training: a bar on a terminal or in a notebook, one line per epoch otherwise."""

from __future__ import annotations

from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowkit.train.checkpoint import Row
from flowkit.train.step import Fitting


def describe(row: Row, unit: str) -> str:
    """Return the figures of one epoch as text."""
    val = "" if row.val is None else f"  val {row.val:.4f}"
    drift = "" if row.drift is None else f"  drift {row.drift:.1e}"
    return f"train {row.train:.4f}{val} {unit}{drift}"


def shows_bars(console: Console) -> bool:
    """Return True if the console can redraw a bar. In a notebook, rich needs ipywidgets for that."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


class Report:
    """Shows the progress of the whole run and the figures of the last epoch.

    Progress is counted in steps, or in seconds if the time is limited. ``bar`` is the display, and a context manager
    that shows it. It shows nothing if the console can't show bars.
    """

    def __init__(self, console: Console, fitting: Fitting):
        self.console, self.fitting, self._redraws = console, fitting, shows_bars(console)
        words, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        unit = TextColumn("" if fitting.stopwatch.limit is None else "s")
        columns = (words, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn(), figures)
        self.bar = Progress(*columns, console=console, refresh_per_second=4, disable=not self._redraws)
        total = fitting.stopwatch.limit or fitting.steps
        self._task = self.bar.add_task("", total=total, completed=self._done, figures="")

    def start_epoch(self, epoch: int) -> None:
        """Show that an epoch begins. Epochs count from 1."""
        self.bar.update(self._task, description=self._name(epoch))

    def end_step(self) -> None:
        """Update the progress after a step."""
        if self._redraws:
            self.bar.update(self._task, completed=self._done)

    def end_epoch(self, row: Row) -> None:
        """Show the figures of an epoch after its end."""
        figures = describe(row, self.fitting.flow.printed_unit)
        self.bar.update(self._task, figures=figures)
        self.bar.refresh()  # in a notebook, rich doesn't draw the last state by itself
        if not self._redraws:
            epoch = f"{self._name(row.epoch)}  step {row.step}"
            line = f"{epoch}  {figures}  lr {row.lr:.2g}  {row.seconds:.1f} s"
            self.console.print(line, highlight=False, soft_wrap=True)

    @property
    def _done(self) -> int:
        watch = self.fitting.stopwatch
        return self.fitting.global_step if watch.limit is None else int(watch.seconds)

    def _name(self, epoch: int) -> str:
        epochs = self.fitting.settings.epochs
        return f"epoch {epoch}" if epochs is None else f"epoch {epoch}/{epochs}"
