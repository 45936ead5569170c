"""Writes the result of a sweep: a table of its trials, a picture, and the spec of the best one."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.trial import FrozenTrial, TrialState

from flowkit.spec.run import SPEC
from flowkit.sweep.space import Choices, Span
from flowkit.sweep.study import FAILURE, Study, in_state, spelled_value
from flowkit_runtime.atomic import replace_text, replacing

TABLE, PICTURE, BEST = "trials.csv", "sweep.png", "best.yaml"
ACROSS = 3
"""The most panels of the picture that stand side by side."""
MARKS = {TrialState.COMPLETE: "o", TrialState.PRUNED: "x"}


def write_result(study: Study) -> None:
    """Write the result so far: trials.csv, sweep.png and best.yaml."""
    _write_table(study, study.directory / TABLE)
    if study.best is not None:
        _draw(study, study.directory / PICTURE)
        replace_text(study.directory / BEST, (study.run_of(study.best.number) / SPEC).read_text("utf-8"))


def score(trial: FrozenTrial) -> float | None:
    """Return the score of a trial. For a pruned trial it is the last score before it was pruned."""
    values = trial.intermediate_values
    return trial.value if trial.value is not None or not values else values[max(values)]


def epochs(trial: FrozenTrial) -> int:
    """Return the last epoch after which the trial was validated."""
    return max(trial.intermediate_values, default=0)


def _write_table(study: Study, path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "val", "epochs", "seconds", *study.space, FAILURE])
        for trial in study.trials:
            seconds = "" if trial.duration is None else round(trial.duration.total_seconds(), 1)
            values = [spelled_value(trial.params[field]) if field in trial.params else "" for field in study.space]
            figures = [trial.number, trial.state.name.lower(), score(trial), epochs(trial), seconds]
            writer.writerow([*figures, *values, trial.user_attrs.get(FAILURE, "")])


def _draw(study: Study, path: Path) -> None:
    """Draw the scores of the trials, in their order, and over the values of each field."""
    panels = 1 + len(study.space)
    across = min(ACROSS, panels)
    down = math.ceil(panels / across)
    figure = Figure(figsize=(4 * across, 3.2 * down), layout="constrained")
    axes = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    shown = [trial for trial in study.trials if trial.state in MARKS and score(trial) is not None]
    scores = sorted(score(trial) or 0.0 for trial in shown)
    limit = scores[0] + 4 * (scores[len(scores) // 2] - scores[0])  # a few bad scores would squeeze the others
    _draw_history(axes[0], shown, limit)
    for axis, field in zip(axes[1:], study.space, strict=False):
        _draw_field(axis, study.space[field], [trial for trial in shown if field in trial.params], field, limit)
    for axis in axes[panels:]:
        axis.set_visible(False)
    for axis in axes[:panels]:
        if scores[-1] > limit:
            axis.axhline(limit, linestyle=":", color="C7", label=f"{limit:.4g} or more")
    for axis in axes[::across]:
        axis.set_ylabel(f"val, {study.unit}")
    axes[0].legend()
    figure.suptitle(f"Validation scores of {len(shown)} trials: lower is better")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _draw_history(axis: Axes, trials: Sequence[FrozenTrial], limit: float) -> None:
    _scatter(axis, trials, [trial.number for trial in trials], limit)
    complete = in_state(list(trials), TrialState.COMPLETE)
    best = [min(each.value or 0.0 for each in complete[: index + 1]) for index in range(len(complete))]
    axis.step([trial.number for trial in complete], best, where="post", color="C1", label="best so far")
    axis.set_xlabel("trial")


def _draw_field(axis: Axes, values: Span | Choices, trials: Sequence[FrozenTrial], field: str, limit: float) -> None:
    if isinstance(values, Span):
        _scatter(axis, trials, [trial.params[field] for trial in trials], limit)
        if values.log:
            axis.set(xscale="log", xlim=(values.low / 1.2, values.high * 1.2))
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.high < 20 * values.low else (1,)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        _scatter(axis, trials, [values.examples.index(trial.params[field]) for trial in trials], limit)
        axis.set_xticks(range(len(values.examples)), values.examples)
        axis.set_xlim(-0.5, len(values.examples) - 0.5)
    axis.set_xlabel(field)


def _scatter(axis: Axes, trials: Sequence[FrozenTrial], places: Sequence[float], limit: float) -> None:
    """Draw the scores over the places. Scores above the limit are drawn there."""
    scores = [min(score(trial) or 0.0, limit) for trial in trials]
    for state, mark in MARKS.items():
        chosen = [index for index, trial in enumerate(trials) if trial.state == state]
        if chosen:
            x, y = ([values[index] for index in chosen] for values in (places, scores))
            axis.scatter(x, y, marker=mark, s=18, color="C0", label=state.name.lower())
