"""Data that is far from 0, or whose scale is far from 1, and flows that don't correct that."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import app
from flowkit.errors import DataWarning
from flowkit.spec import read_spec
from flowkit.train import train

pytestmark = pytest.mark.usefixtures("no_pictures")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 2)).astype(np.float32)
COUPLING = {"coupling": {"use": "spline/rational_quadratic"}, "conditioner": {"use": "glow/mlp", "hidden": 8}}
BARE = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/conv1x1"}, COUPLING]}
STANDARDIZED = {**BARE, "flow": [{"use": "glow/actnorm"}, *BARE["flow"]]}
IMAGES = {
    "flowkit": 1,
    "event": {"shape": [1, 4, 4], "levels": 256},
    "flow": [{"use": "glow/squeeze"}, {**COUPLING, "conditioner": {"use": "glow/convnet", "hidden": 4}}],
}
RESCALED = {**IMAGES, "flow": [{"use": "glow/rescale"}, *IMAGES["flow"]]}
DARK = RANDOM.integers(0, 256, (100, 1, 4, 4)) * (np.arange(16).reshape(1, 4, 4) > 7)
"""Images whose upper half never changes."""


def fit(x: np.ndarray, spec: dict[str, Any], weight: Any = None) -> None:
    flowkit.fit(x, spec=spec, weight=weight, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("x", "spec"),
    [(X * [2, 400] + [10, 3000], BARE), (X + 30, BARE), (X * 1e-6, BARE), (DARK, IMAGES)],
    ids=["thousands", "far from 0", "tiny", "bytes"],
)
def test_a_flow_that_begins_far_behind_a_gaussian_is_a_warning(x: np.ndarray, spec: dict[str, Any]) -> None:
    with pytest.warns(DataWarning, match=r"begins [\d,]+ nats per value behind a Gaussian.*`use: glow/actnorm`"):
        fit(x, spec)


WEIGHTS = np.where(np.arange(400) % 2, 1.0, 1e-6)
"""Weights under which every other event hardly counts."""


@pytest.mark.parametrize(
    ("x", "spec", "weight"),
    [
        (X * [2, 400] + [10, 3000], STANDARDIZED, None),
        (X * 2 + 1, BARE, None),
        (DARK, RESCALED, None),
        (np.where(WEIGHTS[:, None] == 1, X, 100), BARE, WEIGHTS),
    ],
    ids=["actnorm", "near", "rescaled", "weights"],
)
def test_a_flow_that_begins_near_the_data_is_none(x: np.ndarray, spec: dict[str, Any], weight: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(x, spec, weight)


def evaluated(spec: dict[str, Any], run: Path) -> str:
    train(read_spec(spec), run)
    return CliRunner().invoke(app, ["evaluate", str(run)]).stdout


@pytest.mark.filterwarnings("ignore::flowkit.errors.DataWarning")
def test_evaluate_says_that_a_flow_is_worse_than_a_gaussian(tmp_path: Path) -> None:
    np.save(tmp_path / "far.npy", X + 30)
    data = {"data": {"use": "data/npy", "path": str(tmp_path / "far.npy")}}
    train = {"train": {"epochs": 1, "batch_size": 16, "optimizer": {"lr": 0.1}, "ema": None}}
    for name, spec in {"bare": BARE, "standardized": STANDARDIZED}.items():
        run = tmp_path / name
        longer = f"train it for longer: flowkit train --resume {run} --set train.epochs=N"
        said = evaluated({**spec, **data, **train}, run).splitlines()[3:]
        assert said[0] == f"the flow is worse than the gaussian: {longer}"
        assert [line.endswith("begins with `use: glow/actnorm`") for line in said[1:]] == [True] * (name == "bare")
    moons = {"data": {"use": "data/toy", "name": "moons", "n": 1000}, "train": {"epochs": 20, "ema": None}}
    assert "worse" not in evaluated({**STANDARDIZED, **moons}, tmp_path / "moons")
