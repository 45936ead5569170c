"""The lines that a pipe gets while a flow is trained."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from flowkit.train import report
from flowkit.train.checkpoint import Row
from flowkit.train.report import Report

STEPS = 10
"""The steps of an epoch."""


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(
    monkeypatch: pytest.MonkeyPatch, epochs: int, seconds: float, validate_every: int = 1, ends: int | None = None
) -> list[str]:
    """The lines of a run whose steps take some seconds each. It may end before its epochs, by patience."""
    clock, pipe = Clock(), io.StringIO()
    monkeypatch.setattr(report, "time", SimpleNamespace(monotonic=clock))
    fitting: Any = SimpleNamespace(
        stopwatch=SimpleNamespace(limit=None),
        steps=epochs * STEPS,
        global_step=0,
        settings=SimpleNamespace(epochs=epochs),
        flow=SimpleNamespace(printed_unit="bits/dim"),
    )
    shown = Report(Console(file=pipe, width=80), fitting)
    shown.bar.get_time = clock
    for epoch in range(1, (ends or epochs) + 1):
        shown.start_epoch(epoch)
        for _ in range(STEPS):
            clock.now += seconds
            fitting.global_step += 1
            shown.end_step()
        val = 2.25 if epoch % validate_every == 0 or epoch == epochs else None
        shown.end_epoch(
            Row(epoch=epoch, step=fitting.global_step, lr=1e-3, train=2.5, val=val, seconds=1.0, drift=None),
            last=epoch == (ends or epochs),
        )
    return pipe.getvalue().splitlines()


def test_a_run_that_ends_early_prints_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch, 100, 0.1, ends=5)
    assert [line.split()[1] for line in printed] == ["1/100", "5/100"] and "left" not in printed[-1]


def test_epochs_without_an_end_have_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = lines(monkeypatch, 10**17, 0.1, ends=2)
    assert first.endswith("lr 0.001")


def test_a_long_run_prints_few_lines_of_validated_epochs_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch, 100, 0.1, validate_every=3)
    shown = [int(line.split()[1].split("/")[0]) for line in printed]
    assert shown == [1, 18, 36, 51, 69, 84, 100]
    assert printed[1] == "epoch 18/100  train 2.5000  val 2.2500 bits/dim  lr 0.001  0:01:22 left"
    assert max(map(len, printed)) <= 80 and "left" not in printed[-1]


def test_slow_epochs_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(lines(monkeypatch, 20, 6.0)) == 20
