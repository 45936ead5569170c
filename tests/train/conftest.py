"""A small run: moons, a coupling with dropout, four epochs of five steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowkit.spec import Spec, read_spec

SPEC: dict[str, Any] = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [
        {"use": "glow/actnorm"},
        {
            "repeat": 1,
            "flow": [
                {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8, "dropout": 0.1}},
                {"use": "glow/permute"},
            ],
        },
    ],
    "data": {"use": "data/toy", "name": "moons", "n": 220},
    "train": {"epochs": 4, "batch_size": 40, "optimizer": {"lr": 0.01}},
}


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """The small run's spec, with overrides such as ``train.epochs=3``."""
    return lambda *overrides: read_spec(SPEC, overrides)


def leave_out_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for draw in ("draw_loss", "draw_samples"):
        monkeypatch.setattr(f"flowkit.train.pictures.{draw}", lambda *_: None)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have no pictures, which take most of the time of a small one."""
    leave_out_pictures(monkeypatch)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Ends whatever trains inside the context at the beginning of a step, counted over the whole run."""
    from flowkit.train.step import Fitting

    original = Fitting.training_step

    @contextlib.contextmanager
    def context(step: int) -> Iterator[None]:
        def training_step(self: Fitting, batch: Any) -> None:
            if self.global_step == step:
                raise Killed
            original(self, batch)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Fitting, "training_step", training_step)
            yield

    return context
