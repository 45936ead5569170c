"""flowkit.fit for tables: DataFrames in, DataFrames out, and a bundle that takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import flowkit
import flowkit_runtime
from flowkit.errors import DataError, DataWarning, InputError, RunError
from flowkit.fitted.table_result import FittedTable
from flowkit_runtime.frames import is_table

N = 120
RANDOM = np.random.default_rng(0)
FLATS = pd.DataFrame(
    {
        "city": RANDOM.choice(["Bonn", "Ulm"], N),
        "area": RANDOM.normal(70, 20, N),
        "rooms": RANDOM.integers(1, 6, N),
        "price": np.exp(RANDOM.normal(12, 1, N)),
    },
    index=range(7, N + 7),  # an index is no column
)
FLATS.loc[10, "price"] = None
ULM = pd.DataFrame({"city": ["Ulm", "Bonn"]})


@pytest.fixture(scope="module")
def fitted() -> Any:
    with pytest.warns(DataWarning, match="rows that lack a value are left out"):
        return flowkit.fit(FLATS, epochs=1, progress=False)


def test_columns_are_chosen_as_for_files(fitted: FittedTable) -> None:
    assert [each.column for each in fitted.preprocessing.event] == ["area", "rooms", "price"]
    assert [each.column for each in fitted.preprocessing.context] == ["city"]
    assert fitted.spec.event.domain is not None  # prices are positive


def test_scores_of_a_table(fitted: FittedTable) -> None:
    scores = fitted.score(FLATS)
    assert scores.shape == (N,) and np.flatnonzero(np.isnan(scores)).tolist() == [3]
    shuffled = pa.table(FLATS[["price", "rooms", "city", "area"]])
    assert np.array_equal(fitted.score(shuffled), scores, equal_nan=True)
    assert np.array_equal(-fitted.log_prob(dict(FLATS)), scores, equal_nan=True)
    apart = fitted.score(FLATS[["area", "rooms", "price"]], FLATS[["city"]])
    assert np.array_equal(apart, scores, equal_nan=True)


def test_contexts_as_polars_has_them(fitted: FittedTable) -> None:
    texts = pa.array(["Ulm", "Bonn"], pa.string_view())
    for cities in (texts, pa.DictionaryArray.from_arrays(np.uint32([0, 1]), texts)):  # String, and Categorical or Enum
        drawn = fitted.sample(2, pa.table({"city": cities}), seed=0)
        assert drawn["city"].tolist() == ["Ulm", "Ulm", "Bonn", "Bonn"]
        assert np.array_equal(drawn["area"], fitted.sample(2, ULM, seed=0)["area"])


def test_a_value_outside_of_the_domain_is_refused_as_by_a_bundle(fitted: FittedTable) -> None:
    table = FLATS.copy()
    table.iloc[7, table.columns.get_loc("price")] = -5.0
    for call in (fitted.score, fitted.log_prob):
        with pytest.raises(InputError, match=r"must lie in the domain of the data, .* in column .price.; in row 7"):
            call(table)


def test_samples_are_tables(fitted: FittedTable) -> None:
    drawn = fitted.sample(3, ULM, seed=0)
    assert isinstance(drawn, pd.DataFrame) and list(drawn) == ["city", "area", "rooms", "price"]
    assert drawn["city"].tolist() == ["Ulm"] * 3 + ["Bonn"] * 3 and drawn["rooms"].dtype == np.int64
    contexts = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert np.allclose(fitted.sample((3, 2), contexts, seed=0)[:, 0, 0], drawn["area"][:3], rtol=1e-6)
    for no_table in (None, "Ulm"):
        with pytest.raises(InputError, match="this flow needs a context: a table with the column city"):
            fitted.sample(3, no_table)
    with pytest.raises(InputError, match="n is the number of samples"):
        fitted.sample((3, 2), ULM)
    assert len(fitted.sample(np.int64(3), ULM)) == 6 and list(fitted.sample(0, ULM)) == list(drawn)


def test_a_table_of_one_row_as_single_values(fitted: FittedTable) -> None:
    drawn = fitted.sample(2, {"city": "Ulm"}, seed=0)
    assert drawn["city"].tolist() == ["Ulm"] * 2 and drawn.equals(fitted.sample(2, {"city": ["Ulm"]}, seed=0))
    row = FLATS.iloc[0].to_dict()
    assert np.array_equal(fitted.score(row), fitted.score(FLATS[:1]))
    with pytest.raises(InputError, match="column 'rooms' is 1, not a list or an array of values"):
        fitted.score(row | {"area": [70.0]})


def test_the_columns_are_shown(fitted: FittedTable) -> None:
    assert repr(fitted).startswith("FittedTable\n  density: p(area, rooms, price | city)\n  event: ")
    assert "p(area, rooms, price | city)" in fitted._repr_html_()
    species = {"x": RANDOM.normal(size=60), "kind": ["a", "b"] * 30}
    assert "density: p(x | kind)" in repr(flowkit.fit(species, label="kind", epochs=1, progress=False))
    numbered = pd.DataFrame({0: species["x"], 1: species["kind"]})
    assert "density: p(0 | 1)" in repr(flowkit.fit(numbered, label=1, epochs=1, progress=False))


@pytest.mark.slow
def test_the_bundle_takes_the_table(fitted: FittedTable, tmp_path: Path) -> None:
    model = flowkit_runtime.load(fitted.export(tmp_path / "bundle"))
    with pytest.raises(RunError, match="bundle exists: --overwrite replaces it, in Python overwrite=True"):
        fitted.export(tmp_path / "bundle")
    scores = model.score(*model.from_table(FLATS))
    assert np.allclose(scores, fitted.score(FLATS), atol=1e-4, equal_nan=True)


def test_context_by_name_and_without() -> None:
    table = {"x": FLATS["area"].to_numpy(), "y": FLATS["area"].to_numpy() + RANDOM.normal(size=N)}
    named = flowkit.fit(table, ["x"], epochs=1, progress=False, validation=0.2)
    assert isinstance(named, FittedTable) and [each.column for each in named.preprocessing.event] == ["y"]
    without = flowkit.fit(pa.table(table), epochs=1, progress=False, validation=(table,))
    drawn = without.sample(4)
    assert isinstance(drawn, pa.Table) and drawn.column_names == ["x", "y"]
    with pytest.raises(InputError, match="this flow takes no context"):
        without.sample(4, {"x": [70.0]})
    with pytest.raises(InputError, match="this flow takes no context"):
        without.score(table, ["x"])
    with pytest.raises(InputError, match="this flow needs a context: a table with the column x"):
        named.score({"y": table["y"]}, ["x"])
    assert set(named.sample(2, {"x": [70.0]})) == {"x", "y"}


REFUSED: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "a column of both": (FLATS, FLATS[["city"]], InputError, "x and context both have a column 'city'"),
    "no such column": (FLATS, ["town"], DataError, "has no column 'town'"),
    "a name that is no list": (FLATS, "city", InputError, r"a list of names of its columns, as in context=\['city'\]"),
    "a path": ("flats.csv", None, InputError, "x is 'flats.csv', no data: read the file first, with pandas.read_csv"),
    "an array for a table": (FLATS, np.zeros(N), InputError, "context must be one, too, or a list of names"),
    "mixed types": (
        {"x": [1, "a"] * 60},
        None,
        InputError,
        "column 'x' is of mixed types: it has 'a' in row 1, and 1 in row 0",
    ),
    "tables of different lengths": (
        FLATS[["area"]],
        FLATS[["rooms"]][:5],
        InputError,
        "'rooms' has 5 rows, and .* 120",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_are_refused(case: str) -> None:
    x, context, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        flowkit.fit(x, context, epochs=1, progress=False)


def test_columns_that_a_spec_lists() -> None:
    listed = {"use": "data/table", "path": "unused.csv", "event": [{"column": "area", "scale": 10}], "missing": "drop"}
    spec = {"flowkit": 1, "event": {"shape": [1]}, "flow": [{"use": "glow/actnorm"}], "data": listed}
    with pytest.warns(DataWarning, match="left out"):
        fitted = flowkit.fit(FLATS, spec=spec, epochs=1, progress=False)
    assert isinstance(fitted, FittedTable) and fitted.preprocessing.event[0].scale == 10
    assert fitted.sample(2000, seed=0)["area"].mean() == pytest.approx(FLATS["area"].mean(), rel=0.1)
    for names in ({"context": ["city"]}, {"label": "city"}):
        with pytest.raises(InputError, match="the section `data` of the spec lists the columns: leave out the names"):
            flowkit.fit(FLATS, spec=spec, epochs=1, progress=False, **names)


def test_weights_of_the_validation_data() -> None:
    table = {"a": FLATS["area"].to_numpy(), "weights": np.ones(N)}
    unweighted = {"a": table["a"]}
    with pytest.raises(InputError, match="the validation data: x has no column 'weights'"):
        flowkit.fit(table, weight="weights", validation=unweighted, epochs=1, progress=False)
    parts = [(table, None, table["a"]), (unweighted, None, table["a"]), table]
    losses = [
        flowkit.fit(table, weight="weights", validation=part, epochs=1, progress=False).history[0]["val"]
        for part in parts
    ]
    assert losses[0] == losses[1] != losses[2]


def test_frames_of_a_pandas_without_arrows_interface_are_tables() -> None:
    older = type("DataFrame", (), {"__module__": "pandas.core.frame", "columns": ["a"]})
    assert is_table(older()) and not is_table(np.zeros(3))
