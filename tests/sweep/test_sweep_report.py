"""What a sweep shows of its progress, and the axes of its picture."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from optuna.trial import TrialState, create_trial
from rich.console import Console

from flowkit.sweep.progress import SweepReport
from flowkit.sweep.result import _draw_field
from flowkit.sweep.space import Span


def test_a_pipe_gets_a_line_for_each_trial_with_the_time_left() -> None:
    study: Any = SimpleNamespace(trials=[], total=4, best=None, unit="nats")
    pipe, hour = io.StringIO(), 3600
    report = SweepReport(Console(file=pipe, width=80), study)
    for number in (1, 2, 4):
        report.bar.get_time = lambda now=number * hour: float(now)
        study.trials = [create_trial(state=TrialState.COMPLETE, value=1.5)] * number
        report.show(study.trials[-1])
    lines = pipe.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "4/4"]
    assert lines[1].endswith("  2:00:00 left") and "left" not in lines[2]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(1e-4, 1e-2, ["0.0001", "0.001", "0.01"]), (1e-3, 5e-3, ["0.001", "0.002", "0.005"])],
)
def test_a_logarithmic_axis_has_few_plain_numbers(low: float, high: float, labels: list[str]) -> None:
    figure = Figure()
    axis = figure.subplots()
    _draw_field(axis, Span(low=low, high=high, log=True, whole=False), [], "train.optimizer.lr", 1.0)
    figure.savefig(io.BytesIO())
    first, last = axis.get_xlim()
    shown = [tick for tick in axis.xaxis.get_major_ticks() if first <= tick.get_loc() <= last]
    assert [tick.label1.get_text() for tick in shown] == labels
    assert not any(tick.label1.get_text() for tick in axis.xaxis.get_minor_ticks())
