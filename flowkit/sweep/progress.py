"""Shows the progress of a sweep: a bar on a terminal or in a notebook, one line per trial otherwise."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState
from rich import progress
from rich.console import Console
from rich.markup import escape

from flowkit.sweep.result import epochs, score
from flowkit.sweep.study import FAILURE, Study, in_state, spelled_value
from flowkit.train.report import shows_bars, time_left

PERIOD = 24 * 3600
"""The seconds of the past from which the time left is estimated: a trial may take hours."""

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def counts(study: Study) -> str:
    """Return the numbers of trials as text: ``30 trials, 21 complete, 7 pruned, 2 failed``."""
    words = dict(zip(ENDED, ("complete", "pruned", "failed"), strict=True))
    found = {word: len(in_state(study.trials, state)) for state, word in words.items()}
    return ", ".join([f"{len(study.trials)} trials", *(f"{number} {word}" for word, number in found.items() if number)])


def describe_trial(trial: FrozenTrial, study: Study) -> str:
    """Return how a trial ended, and its values, as text."""
    values = "  ".join(f"{field}={short_value(value)}" for field, value in trial.params.items())
    figure = "" if score(trial) is None else f"  val {score(trial):.4f} {study.unit}"
    match trial.state:
        case TrialState.FAIL:
            how = f"  failed: {' '.join(trial.user_attrs.get(FAILURE, '').split())}"
        case TrialState.PRUNED:
            how = f"{figure}  pruned after epoch {epochs(trial)}"
        case _:
            how = figure
    return f"trial {trial.number}{how}  {values}"


def short_value(value: object) -> str:
    """Return the text of a field's value, of numbers four digits."""
    return f"{value:.4g}" if isinstance(value, float) else spelled_value(value)


class SweepReport:
    """Shows how many trials have ended, and the best score. ``bar`` is a context manager that shows it."""

    def __init__(self, console: Console, study: Study):
        self.console, self.study, self._redraws = console, study, shows_bars(console)
        words = progress.TextColumn("{task.description}")
        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn(), words)
        self.bar = progress.Progress(
            *columns, console=console, refresh_per_second=4, speed_estimate_period=PERIOD, disable=not self._redraws
        )
        self._task = self.bar.add_task(self._summary, total=study.total, completed=self._done)

    def show(self, trial: FrozenTrial) -> None:
        """Show a trial that has ended."""
        self.bar.update(self._task, completed=self._done, description=self._summary)
        if not self._redraws:
            text = f"{self._done}/{self.study.total}  {describe_trial(trial, self.study)}{time_left(self.bar)}"
            self.console.print(escape(text), highlight=False, soft_wrap=True)

    @property
    def _done(self) -> int:
        return sum(trial.state in ENDED for trial in self.study.trials)

    @property
    def _summary(self) -> str:
        best = self.study.best
        return "" if best is None else f"best {best.value:.4f} {self.study.unit} of trial {best.number}"
