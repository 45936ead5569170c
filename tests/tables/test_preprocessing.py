"""Columns of tables become events and contexts, and come back."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flowkit_runtime.columns import MAX_NAMED, Column, Preprocessing, described, no_columns, parsed
from flowkit_runtime.errors import InputError
from flowkit_runtime.frames import TableColumns
from flowkit_runtime.noise import DEQUANTIZATION_STREAM, uniform
from flowkit_runtime.preprocessing import decode, encode
from flowkit_runtime.values import as_days, as_numbers, as_text

MIXED = Preprocessing(
    event=(
        Column("x", offset=100.0, scale=2.0),
        Column("k", "integer"),
        Column("p", "integer", offset=1.0, scale=0.25),
        Column("c", "category", categories=("red", "green")),
        Column("t", "time", offset=15000.0),
    ),
    context=(
        Column("y", scale=4.0, fill=8.0),
        Column("d", "category", categories=("a", "b", None)),
        Column("z", offset=1.0),
    ),
    missing="drop",
)
ROWS: dict[str, list[Any]] = {
    "t": [datetime(2011, 1, 26), datetime(2011, 1, 27, 12), datetime(2011, 1, 28), datetime(2011, 1, 29)],
    "c": ["red", "green", "red", "green"],
    "p": [1.0, 1.25, 2.75, 0.5],
    "k": [-3, 0, 7, 12],
    "x": [100.0, 101.0, None, 98.0],
    "unused": ["?", "?", "?", "?"],
    "y": [4.0, None, 2.0, 1.0],
    "d": ["a", None, "b", "a"],
    "z": [1.0, 2.0, 3.0, 4.0],
}
NOISE = uniform(0, DEQUANTIZATION_STREAM, (4, 5))


def test_what_columns_become() -> None:
    events, context = encode(MIXED, TableColumns(ROWS))
    noiseless = events - NOISE * [0, 1, 1, 1, 0]
    expected = [[0.0, -3, 0, 0, 0.0], [0.5, 0, 1, 1, 1.5], [np.nan] * 5, [-1.0, 12, -2, 1, 3.0]]
    assert np.allclose(noiseless, expected, atol=1e-12, equal_nan=True)
    assert context is not None
    assert context.tolist() == [[1, 0, 1, 0, 0, 0], [2, 1, 0, 0, 1, 1], [0] * 6, [0.25, 0, 1, 0, 0, 3]]
    assert MIXED.shapes == ((5,), (6,))


def test_values_on_a_circle() -> None:
    hours = Preprocessing((Column("x"),), (Column("h", "integer", offset=6.0, fill=12.0, period=24.0),))
    _, context = encode(hours, TableColumns({"x": [0.0] * 5, "h": [6, 12, 0, 30, None]}))
    expected = [[1, 0, 0], [0, 1, 0], [0, -1, 0], [1, 0, 0], [0, 1, 1]]
    assert context is not None and np.allclose(context, expected, atol=1e-12)
    assert hours.shapes == ((1,), (3,))


def test_events_become_columns_again() -> None:
    events, _ = encode(MIXED, TableColumns(ROWS), seed=3)
    columns = decode(MIXED, events[[0, 1, 3]].astype(np.float32))
    for name in ("k", "p", "c"):
        assert columns[name].tolist() == [ROWS[name][row] for row in (0, 1, 3)]
    assert columns["x"].tolist() == [100.0, 101.0, 98.0]
    assert [str(time) for time in columns["t"]] == ["2011-01-26T00:00:00", "2011-01-27T12:00:00", "2011-01-29T00:00:00"]


def test_times_in_float32_come_back_to_the_second() -> None:
    times = [datetime(2011, 1, 27, 12, minute, second) for minute in range(60) for second in range(60)]
    preprocessing = Preprocessing((Column("t", "time", offset=15000.0),))
    events, _ = encode(preprocessing, TableColumns({"t": times}))
    assert decode(preprocessing, events.astype(np.float32))["t"].tolist() == times


def test_noise_is_a_function_of_seed_and_row() -> None:
    whole, _ = encode(MIXED, TableColumns(ROWS), seed=5)
    tail = {name: values[1:] for name, values in ROWS.items()}
    assert np.array_equal(encode(MIXED, TableColumns(tail), start=1, seed=5)[0], whole[1:], equal_nan=True)
    assert not np.array_equal(encode(MIXED, TableColumns(tail), start=1, seed=6)[0][0], whole[1])


def test_offsets_keep_float32_precise() -> None:
    seconds = Column("x", offset=1.7e9)
    events, _ = encode(Preprocessing((seconds,)), TableColumns({"x": [1.7e9 + 0.25, 1.7e9 + 0.5]}))
    assert events.astype(np.float32).ravel().tolist() == [0.25, 0.5]


def test_of_many_missing_columns_some_are_named() -> None:
    said = no_columns([f"c{i}" for i in range(MAX_NAMED + 2)], ["x"])
    assert said.startswith("no columns 'c0', 'c1', ") and said.endswith(f"'c{MAX_NAMED - 1}' and 2 more")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": ({"k": None}, "there is no column 'k'; the columns are"),
    "no such columns": ({"k": None, "p": None}, "there are no columns 'k', 'p'; the columns are"),
    "an unknown category": (
        {"c": ["red", "blue", "red", "red"]},
        "'c' has 'blue' in row 11; its categories are red, green",
    ),
    "a fraction": ({"k": [1, 2, 3.5, 4]}, "'k' has 3.5 in row 12, which isn't a whole number"),
    "off the grid": ({"p": [1, 1.1, 2, 3]}, r"'p' has 1.1 in row 11, which isn't one of 1 \+ k · 0.25"),
    "infinity": ({"x": [1, 2, 3, np.inf]}, "'x' has inf in row 13"),
    "text": ({"x": ["1", "2", "3", "4"]}, "'x' holds string, not numbers"),
    "times in place of numbers": ({"x": ROWS["t"]}, "'x' holds timestamp.us., not numbers"),
    "no time": (
        {"t": ["2011-01-26", "2011-01-27", "soon", "2011-01-29"]},
        "'t' has 'soon' in row 12, which is no time",
    ),
    "numbers in place of times": ({"t": [1, 2, 3, 4]}, "'t' holds int64, not times"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_are_refused(case: str) -> None:
    changed, message = REFUSED[case]
    rows = {name: values for name, values in (ROWS | changed).items() if values is not None}
    with pytest.raises(InputError, match=message):
        encode(MIXED, TableColumns(rows), start=10)


@pytest.mark.parametrize(("name", "row"), [("x", 12), ("k", 10)])
def test_missing_values_are_refused_by_default(name: str, row: int) -> None:
    strict = Preprocessing(MIXED.event, MIXED.context)
    rows = ROWS | {"x": [1.0, 2.0, 3.0, 4.0]} | {name: [None if i == row - 10 else 1 for i in range(4)]}
    with pytest.raises(InputError, match=f"no value in column '{name}' of row {row}"):
        encode(strict, TableColumns(rows), start=10)


def test_a_context_that_lacks_a_value_lacks_an_event() -> None:
    events, context = encode(MIXED, TableColumns(ROWS | {"z": [1.0, None, 1.0, 1.0]}))
    assert np.isnan(events[:, 0]).tolist() == [False, True, True, False]
    assert context is not None and np.isfinite(context).all()


def test_the_types_of_arrow() -> None:
    assert as_numbers(pa.array([True, None]), "b").tolist()[0] == 1.0
    assert as_numbers(pa.array([1.5, float("nan"), None]), "x")[0] == 1.5
    assert np.isnan(as_numbers(pa.array([1.5, float("nan"), None]), "x")[1:]).all()
    assert as_numbers(pa.array([1, 2]).dictionary_encode(), "x").tolist() == [1.0, 2.0]
    assert as_text(pa.array([1.0, 2.0, None]), "x") == ["1", "2", None]
    assert as_text(pa.array([1.5]), "x") == ["1.5"]
    assert as_text(pa.array([True, False]), "x") == ["true", "false"]
    assert as_text(pa.array(["a", None]).dictionary_encode(), "x") == ["a", None]
    times = {
        "date": pa.array([date(1970, 1, 3)]),
        "text": pa.array(["1970-01-03"]),
        "text with a time": pa.array(["1970-01-03 00:00:00"]),
        "text with a zone": pa.array(["1970-01-03T00:00:00Z"]),
        "time with a zone": pa.array([datetime(1970, 1, 3)], pa.timestamp("ns", "UTC")),
    }
    assert {name: as_days(values, "t").tolist() for name, values in times.items()} == {name: [2.0] for name in times}


def test_tables_of_python() -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1.0, np.nan], "c": pd.Categorical(["a", None]), "k": pd.array([1, None], "Int64")})
    for table in (frame, pa.table(frame), {name: frame[name].to_numpy(object) for name in frame}):
        columns = TableColumns(table)
        assert [
            values.null_count + int(np.isnan(as_numbers(values, n)).sum() if n != "c" else 0) > 0
            for n, values in columns.items()
        ]
        assert as_text(columns["c"], "c") == ["a", None]
        assert as_numbers(columns["k"], "k")[0] == 1.0 and np.isnan(as_numbers(columns["k"], "k")[1])
    with pytest.raises(InputError, match="more than one column 'a'"):
        TableColumns(pa.table([[1], [2]], names=["a", "a"]))["a"]


def test_it_travels_as_json() -> None:
    assert parsed(described(MIXED)) == MIXED
    assert described(Preprocessing((Column("x"),))) == {"event": [{"column": "x"}], "context": [], "missing": "refuse"}


COLUMN: dict[str, Any] = {"column": "x"}
MALFORMED: dict[str, Any] = {
    "no object": [],
    "a field too many": {"event": [COLUMN], "context": [], "missing": "drop", "more": 1},
    "another rule": {"event": [COLUMN], "context": [], "missing": "guess"},
    "no event": {"event": [], "context": [], "missing": "drop"},
    "no list": {"event": COLUMN, "context": [], "missing": "drop"},
    "a wide context": {
        "event": [COLUMN],
        "context": [
            {"column": name, "kind": "category", "categories": [str(i) for i in range(40_000)]} for name in ("c", "d")
        ],
        "missing": "drop",
    },
    "a column twice": {"event": [COLUMN, COLUMN], "context": [], "missing": "drop"},
    **{
        f"a column with {column}": {"event": [COLUMN | column], "context": [], "missing": "drop"}
        for column in (
            {"column": 3},
            {"kind": "colour"},
            {"kind": ["number"]},
            {"scale": 0},
            {"scale": "1"},
            {"offset": True},
            {"offset": 1e308},
            {"fill": []},
            {"period": 0},
            {"period": "24"},
            {"period": 24, "scale": 2},
            {"categories": ["a"]},
            {"kind": "category"},
            {"kind": "category", "categories": ["a", "a"]},
            {"kind": "category", "categories": ["a", 3]},
            {"kind": "category", "categories": 3},
            {"more": 1},
        )
    },
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_a_manifest_may_not_say(case: str) -> None:
    with pytest.raises(TypeError, match="preprocessing"):
        parsed(MALFORMED[case])
