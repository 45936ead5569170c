"""Weights of events: they count as rows that are repeated, and wrong ones are errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import app
from flowkit.errors import DataError, FlowkitError, RunError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Spec, read_spec
from flowkit.train import evaluate, load_data, resume, train
from flowkit.train.baselines import baselines
from flowkit.train.batches import shuffled
from flowkit.train.data import fitting_arrays
from flowkit.train.step import Fitting
from tests.train.conftest import SPEC

pytestmark = pytest.mark.usefixtures("no_pictures")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 2)).astype(np.float32)
TIMES = RANDOM.integers(0, 4, 40)
SMALL = {**SPEC, "flow": [{"use": "glow/actnorm"}, {"use": "glow/conv1x1"}]}


def weighted(x: np.ndarray = X, spec: Any = SMALL) -> Arrays:
    return fitting_arrays(Arrays(x, weights=TIMES), read_spec(spec), "x")


def repeated(x: np.ndarray = X) -> Arrays:
    return Arrays(np.repeat(x, TIMES, axis=0))


def step(data: Arrays) -> tuple[float, list[torch.Tensor]]:
    """Take one step on all data at once. Return the loss and the gradients."""
    spec = read_spec(SMALL)
    torch.manual_seed(0)
    flow = Flow.from_spec(spec)
    fitting = Fitting(flow, spec.train, 1)
    fitting.start_epoch()
    fitting.training_step(next(shuffled(data, len(data.x), 0, 0)))
    return fitting.losses[0], [parameter.grad.clone() for parameter in flow.parameters() if parameter.grad is not None]


def test_a_weight_counts_as_many_rows() -> None:
    loss, gradients = step(weighted())
    expected, wanted = step(repeated())
    assert loss == pytest.approx(expected, rel=1e-6) and loss != pytest.approx(step(Arrays(X))[0], rel=1e-3)
    for gradient, each in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, each, rtol=1e-5, atol=1e-6)


def test_figures_are_weighted_means() -> None:
    flow = Flow.from_spec(SMALL).eval()
    assert evaluate(flow, weighted(), 7) == pytest.approx(evaluate(flow, repeated(), 7), rel=1e-6)
    both = Arrays(X, weights=TIMES.astype(float))
    assert baselines(both, both, None) == pytest.approx(baselines(repeated(), repeated(), None))
    levels = np.abs(X * 4).astype(int)
    both = Arrays(levels, X[:, :1], weights=TIMES.astype(float))
    alike = Arrays(np.repeat(levels, TIMES, axis=0), np.repeat(X[:, :1], TIMES, axis=0))
    assert baselines(both, both, 16) == pytest.approx(baselines(alike, alike, 16))


def test_data_dependent_initialization_is_weighted() -> None:
    def scale(data: Arrays) -> torch.Tensor:
        spec = read_spec({**SMALL, "train": {"epochs": 1, "optimizer": {"lr": 1e-9}}})
        return flowkit.fit(data.x, weight=data.weights, spec=spec, progress=False).flow.encode(torch.tensor(X))[0]

    x = np.where(np.arange(400)[:, None] < 40, 0.01, 1) * RANDOM.normal(size=(400, 2))
    narrow = scale(Arrays(x.astype(np.float32), weights=np.where(np.arange(400) < 40, 1e4, 1)))
    assert narrow.std() > 20 * scale(Arrays(x.astype(np.float32))).std()


def test_weights_have_mean_1_and_events_of_weight_0_are_left_out() -> None:
    x = np.where(TIMES[:, None] == 0, np.nan, X)
    data = weighted(x)
    assert data.weights is not None and data.weights.mean() == pytest.approx(1)
    assert len(data.x) == len(data.weights) == (TIMES > 0).sum() and np.isfinite(data.x[:]).all()
    huge = fitting_arrays(Arrays(X, weights=np.full(40, 1e308)), read_spec(SMALL), "x")
    assert huge.weights is not None and (huge.weights == 1).all()


def changed(row: int, value: float) -> np.ndarray:
    weights = np.ones(len(X))
    weights[row] = value
    return weights


REFUSED: dict[str, tuple[Any, str]] = {
    "negative": (changed(7, -1), r"x: event 7 \(counted from 0\) has the weight -1; weights are finite, and 0 or more"),
    "missing": (changed(7, np.nan), "event 7 .* has the weight nan"),
    "infinite": (changed(7, np.inf), "event 7 .* has the weight inf"),
    "all 0": (np.zeros(len(X)), "x: all 40 weights are 0"),
    "too few": (np.ones(39), r"weights have shape \[39\] for 40 events"),
    "text": (np.array(["1"] * len(X)), "weights are <U1, not numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_weights_are_refused(case: str) -> None:
    weights, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        fitting_arrays(Arrays(X, weights=weights), read_spec(SMALL), "x")


# Of a table


def table(place: Path, weights: Any = None, name: str = "x.csv") -> Path:
    """Write a table of 200 rows with the columns a, b and w."""
    random = np.random.default_rng(1)
    columns = random.normal(size=(200, 2)), random.integers(0, 3, 200) if weights is None else weights
    rows = [f"{a},{b},{w}\n" for (a, b), w in zip(*columns, strict=True)]
    (place / name).write_text("a,b,w\n" + "".join(rows))
    return place / name


def on_table(file: Path, **data: Any) -> Spec:
    listed = {"use": "data/table", "path": str(file), "event": [{"column": "a"}, {"column": "b"}], "weight": "w"}
    return read_spec({**SPEC, "data": listed | data})


def test_a_column_of_weights(tmp_path: Path) -> None:
    data = load_data(on_table(table(tmp_path)))
    weights = np.concatenate([part.weights for part in data.values() if part.weights is not None])
    assert len(weights) == sum(len(part.x) for part in data.values()) < 200 and len(np.unique(weights.round(3))) > 2


TABLES: dict[str, tuple[Any, str]] = {
    "negative": (
        [*["1"] * 50, "-2", *["1"] * 149],
        r"row 50 \(counted from 0\) has the weight -2; weights are finite, and",
    ),
    "missing": (
        [*["1"] * 50, "", *["1"] * 149],
        r"data/table, train part: row 50 \(counted from 0\) has the weight nan",
    ),
    "infinite": ([*["1"] * 50, "inf", *["1"] * 149], r"row 50 \(counted from 0\) has the weight inf"),
    "text": ([*["1"] * 50, "many", *["1"] * 149], r"column 'w' of row 50 holds no number"),
    "all 0": (["0"] * 200, "data/table, train part: all 160 weights are 0"),
}


@pytest.mark.parametrize("case", TABLES)
def test_what_columns_of_weights_are_refused(tmp_path: Path, case: str) -> None:
    weights, message = TABLES[case]
    with pytest.raises(DataError, match=message):
        load_data(on_table(table(tmp_path, weights)))


def test_roles_are_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'v'"):
        load_data(on_table(table(tmp_path), weight="v"))
    with pytest.raises(flowkit.errors.SpecError, match="names the column 'a' twice"):
        on_table(table(tmp_path), weight="a")


def test_a_run_with_weights_resumes_and_knows_them(tmp_path: Path, killed_at: Callable[[int], Any]) -> None:
    spec = on_table(table(tmp_path))
    train(spec, tmp_path / "whole")
    with killed_at(7):
        train(spec, tmp_path / "killed")
    resume(tmp_path / "killed")
    whole, killed = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert json.loads((tmp_path / "whole/lock.json").read_text())["data"]["train"]["weights"]["dtype"] == "float64"
    shown = CliRunner().invoke(app, ["evaluate", str(tmp_path / "whole")])
    assert shown.exit_code == 0 and "gaussian" in shown.output
    table(tmp_path, np.ones(200))
    with pytest.raises(RunError, match="the data has changed since the run began"):
        resume(tmp_path / "whole", ["train.epochs=5"])


# In Python


def test_fit_takes_weights_as_an_array_and_as_a_column() -> None:
    columns: dict[str, Any] = {"a": X[:, 0], "b": X[:, 1], "w": TIMES}
    options: Any = {"spec": SMALL, "epochs": 2, "progress": False}
    of_column = flowkit.fit(columns, weight="w", **options)
    of_array = flowkit.fit({"a": X[:, 0], "b": X[:, 1]}, weight=TIMES, **options)
    of_arrays = flowkit.fit(X, weight=torch.tensor(TIMES), **options)
    scores = of_column.score(columns)
    for other in (of_array.score(columns), of_arrays.score(X)):
        np.testing.assert_allclose(scores, other, rtol=1e-5)
    assert of_column.history[0]["train"] == of_arrays.history[0]["train"]
    assert of_column.history[0]["train"] != flowkit.fit(X, **options).history[0]["train"]
    held_out = flowkit.fit(X, weight=TIMES, validation=(X, None, TIMES), **options).history[-1]["val"]
    assert held_out != flowkit.fit(X, weight=TIMES, validation=X, **options).history[-1]["val"]


ARGUMENTS: dict[str, tuple[Any, Any, str]] = {
    "a name without a table": (X, "w", "weight is 'w': x is no table"),
    "no such column": ({"a": X[:, 0], "b": X[:, 1], "w": TIMES}, "v", "x has no column 'v'; its columns are a, b, w"),
    "too few": (X, TIMES[1:], r"weight has shape \[39\]: give a number for each of the 40 events"),
    "text": ({"a": X[:, 0], "b": X[:, 1], "w": ["1"] * 40}, "w", "column 'w' can't be the weight: it holds no n"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_what_fit_refuses(case: str) -> None:
    x, weight, message = ARGUMENTS[case]
    with pytest.raises(FlowkitError, match=message):
        flowkit.fit(x, weight=weight, spec=SMALL, epochs=1, progress=False)
    with pytest.raises(DataError, match=r"x: row \d+ .* has the weight -1|the validation data: row"):
        flowkit.fit(X, weight=-np.ones(40), spec=SMALL, epochs=1, progress=False)
