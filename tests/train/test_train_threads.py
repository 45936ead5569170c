"""Training runs on the threads that the spec or the environment says, and leaves them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flowkit.train import here, resume, train
from flowkit.train.building import new_flow
from flowkit.train.step import Fitting

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The numbers of threads that training steps had."""
    numbers: set[int] = set()
    step = Fitting.training_step

    def training_step(self: Fitting, batch: Any) -> None:
        numbers.add(torch.get_num_threads())
        step(self, batch)

    monkeypatch.setattr(Fitting, "training_step", training_step)
    return numbers


@pytest.mark.parametrize(
    ("overrides", "variable", "expected"),
    [
        ((), None, 1),
        ((), "", 1),
        ((), "0", 1),
        ((), "all", 1),
        ((), "3", 3),
        (("train.threads=2",), None, 2),
        (("train.threads=2",), "3", 2),
    ],
)
def test_the_spec_decides_then_the_environment_then_one(
    make_spec: Any,
    seen: set[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    variable: str | None,
    expected: int,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    train(make_spec("train.epochs=1", "data.n=60", *overrides), tmp_path / "run")
    assert seen == {expected} and torch.get_num_threads() == 3


def test_a_flow_is_built_on_the_threads_that_train_it(
    make_spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a run that is interrupted in its first epoch would begin anew with other weights."""
    numbers = []
    monkeypatch.setattr(here, "new_flow", lambda spec: numbers.append(torch.get_num_threads()) or new_flow(spec))
    train(make_spec("train.threads=2", "train.epochs=1"), tmp_path / "run")
    assert numbers == [2]


def test_a_run_may_go_on_with_other_threads_and_what_fails_puts_them_back(
    make_spec: Any, seen: set[int], tmp_path: Path, killed_at: Any
) -> None:
    with killed_at(7):
        train(make_spec("train.threads=2"), tmp_path / "run")
    assert torch.get_num_threads() == 3
    seen.clear()
    resume(tmp_path / "run", ["train.threads=1"])
    assert seen == {1} and torch.get_num_threads() == 3
