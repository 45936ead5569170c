"""Which columns of a table `flowkit new` makes events and contexts of, and how."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flowkit.errors import DataError
from flowkit.spec import read_spec
from flowkit.starting import look, starting_spec
from flowkit.starting.columns import see
from flowkit.starting.roles import Choice
from flowkit.starting.table import TableLook, choose
from flowkit.train import load_data
from flowkit_runtime.columns import Column
from flowkit_runtime.frames import TableColumns
from flowkit_runtime.values import as_text
from tests.tables.tables import written

N = 400
RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=N)
LETTERS = [f"{letter}" for letter in RANDOM.choice(["a", "b"], N)]


def without(values: Any, rows: int) -> list[Any]:
    """Return values of which the first are missing."""
    return [None] * rows + list(values)[rows:]


def chosen(*, event: Any = (), context: Any = (), **columns: Any) -> TableLook:
    return choose(see([TableColumns(columns)]), "x.csv", event, context)


def in_event(values: Any, other: Any = NORMAL) -> Choice:
    return next(each for each in chosen(other=other, x=values).event if each.name == "x")


EVENTS: dict[str, tuple[Any, Column, Any]] = {
    "real numbers": (NORMAL, Column("x"), "real"),
    "far from 0": (NORMAL + 1e6, Column("x", offset=round(float(NORMAL.mean() + 1e6))), "real"),
    "close together": (0.5 + 1e-9 * NORMAL, Column("x", offset=0.5), "real"),
    "too large for decimals": (1e15 + NORMAL, Column("x", offset=1e15), "real"),
    "integers": (RANDOM.integers(-5, 9, N), Column("x", "integer"), "real"),
    "integers as floats": (RANDOM.integers(-5, 9, N) * 1.0, Column("x", "integer"), "real"),
    "a grid": (RANDOM.integers(0, 99, N) / 10, Column("x", "integer", scale=0.1), "real"),
    "fine decimals": (np.round(NORMAL, 6), Column("x"), "real"),
    "counts": (RANDOM.integers(0, 9, N), Column("x", "integer"), "positive"),
    "integers from 1": (RANDOM.integers(1, 9, N), Column("x", "integer"), "real"),
    "large counts": (np.exp(RANDOM.normal(6, 2, N)).astype(int) + 1, Column("x", "integer"), "positive"),
    "heavy and positive": (np.exp(2 * NORMAL), Column("x"), "positive"),
    "shares": (RANDOM.random(N) * 0.98 + 0.01, Column("x"), [0, 1]),
    "light and positive": (NORMAL + 9, Column("x"), "real"),
    "shares that float32 rounds to 0": (np.append(RANDOM.random(N - 1) * 0.99, 1e-60), Column("x"), "real"),
    "shares that float32 rounds to 1": (np.append(RANDOM.random(N - 1) * 0.99, 1 - 1e-9), Column("x"), "real"),
    "positive, and float32 rounds to 0": (np.append(np.exp(2 * NORMAL[1:]), 1e-60), Column("x"), "real"),
}


@pytest.mark.parametrize("case", EVENTS)
def test_columns_of_an_event(case: str) -> None:
    values, column, domain = EVENTS[case]
    choice = in_event(values)
    assert (choice.column, choice.domain) == (column, domain)


def test_what_makes_the_context() -> None:
    look = chosen(
        y=NORMAL,
        c=LETTERS,
        lacking=without(LETTERS, 3),
        truth=[True, False] * (N // 2),
        t=["2020-01-01", "2020-01-03"] * (N // 2),
    )
    assert [each.name for each in look.event] == ["y"] and look.missing == "refuse"
    made = {each.name: each.column for each in look.context}
    assert made["c"] == Column("c", "category", categories=("a", "b"))
    assert made["lacking"] == Column("lacking", "category", categories=("a", "b", None))
    assert made["truth"] == Column("truth", "category", categories=("false", "true"))
    assert made["t"] == Column("t", "time", offset=18263.0, scale=1.0)


def test_numbers_of_a_context_are_standardized() -> None:
    look = chosen(event=["y"], context=["x", "z"], y=NORMAL, x=3 * NORMAL + 5, z=without(NORMAL, 40))
    x, z = (each.column for each in look.context)
    assert x is not None and z is not None
    assert x.offset == pytest.approx(5 + 3 * NORMAL.mean(), rel=1e-3) and x.scale == pytest.approx(
        3 * NORMAL.std(), rel=1e-3
    )
    assert x.fill is None and z.fill == pytest.approx(float(np.median(NORMAL[40:])), abs=1e-3)
    assert look.missing == "refuse"


def test_offsets_are_as_fine_as_the_deviation() -> None:
    hours = without([f"2023-12-05T{i % 24:02}:00:00" for i in range(N)], 3)
    look = chosen(event=["y"], context=["t", "x"], y=NORMAL, t=hours, x=NORMAL + 123456)
    for each in look.context:
        assert each.column is not None
        values = 19696 + np.arange(24) / 24 if each.name == "t" else NORMAL + 123456
        standardized = (values - each.column.offset) / each.column.scale
        assert abs(standardized.mean()) < 0.05 and standardized.std() == pytest.approx(1, abs=0.05)
        assert each.column.fill is None or abs(each.column.fill - each.column.offset) < each.column.scale


VIEWS = pa.DictionaryArray.from_arrays(np.arange(N) % 2, pa.array(["a", "b"], pa.string_view()))
SECONDS = 1_700_000_000 + RANDOM.integers(0, 2_600_000, N)
TRAINED: dict[str, dict[str, Any]] = {
    "seconds of a month": {"x": NORMAL, "k": SECONDS},
    "milliseconds of a second": {"x": NORMAL, "k": 1.7e9 + np.arange(N) % 50 / 1000},
    "steps of 1/2 near 1e15": {"x": NORMAL, "k": 1e15 + np.arange(N) % 50 / 2},
    "true and missing": {"x": NORMAL, "c": [True, False, None, False] * (N // 4)},
    "views of texts": {"x": NORMAL, "c": pa.array(LETTERS, pa.string_view()), "d": VIEWS},
    "tenths up to a million": {"x": NORMAL, "k": (np.arange(N) % 150 * 71 + 9_000_000) / 10},
    "empty text": {"x": NORMAL, "c": ["a", "b", "", "b"] * (N // 4)},
    "empty categories": {"x": NORMAL, "c": pa.array(["a", "b", "", "b"] * (N // 4)).dictionary_encode()},
    "empty times": {"x": NORMAL, "t": ["2020-01-01", "2020-01-03", "", "2020-01-03"] * (N // 4)},
}


@pytest.mark.parametrize("case", TRAINED)
def test_the_data_of_a_spec_can_be_loaded(case: str, tmp_path: Path) -> None:
    path = written(pa.table(TRAINED[case]), tmp_path / "x.arrow")
    found = look(str(path))
    assert isinstance(found, TableLook) and found.missing == "refuse" and not found.doubts
    parts = load_data(read_spec(starting_spec(found)))
    assert sum(len(part.x) for part in parts.values()) == N


def test_few_values_of_a_column_become_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counted(values: Any, name: str) -> Any:
        lengths.append(len(values))
        return as_text(values, name)

    monkeypatch.setattr("flowkit.starting.columns.as_text", counted)
    (column,) = see([TableColumns({"x": np.arange(50_000) / 7})])
    assert len(column.texts) == 101 and max(lengths) < 300


def test_numbers_of_a_context_on_a_circle_by_name_and_range() -> None:
    hours, turns = np.arange(N) % 24, np.linspace(-170, 170, N)
    contexts = {"dep_hour": hours, "wind_dir": turns, "hour": hours + 3, "heading": turns / 10, "four": hours}
    look = chosen(event=["y"], context=list(contexts), y=NORMAL, **contexts)
    periods = {each.name: each.column.period for each in look.context if each.column}
    assert periods == {"dep_hour": 24, "wind_dir": 360, "hour": None, "heading": None, "four": None}


LEFT_OUT: dict[str, tuple[Any, str]] = {
    "an index": (np.arange(N) + 7, "it numbers the rows"),
    "a constant": ([3.0] * N, "it never changes"),
    "one category": (["a"] * N, "it never changes"),
    "names": ([f"name {i}" for i in range(N)], "it has more than 100 categories"),
    "mostly missing": (without(NORMAL, 300), "300 of 400 values are missing"),
    "large integers": (
        np.arange(N) % 7 + 2**62,
        "its values differ too little for numbers of their size: subtract some number from them",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_columns_that_are_left_out(case: str) -> None:
    values, reason = LEFT_OUT[case]
    look = chosen(y=NORMAL, x=values)
    assert [(each.name, each.reason) for each in look.left_out] == [("x", reason)]
    assert look.doubts == (f"column x is left out: {reason}",)
    if case in ("an index", "mostly missing"):
        assert len(chosen(event=["y", "x"], y=NORMAL, x=values).event) == 2  # they can be asked for
        return
    with pytest.raises(DataError, match=r"column 'x' can't be used: it"):
        chosen(event=["y", "x"], y=NORMAL, x=values)


def test_columns_without_a_finite_number_are_left_out() -> None:
    look = chosen(y=NORMAL, infinite=[np.inf] * N, nan=pa.array([np.nan] * N))  # this NaN isn't null
    assert [(each.name, each.reason) for each in look.left_out] == [
        ("infinite", "row 0 has inf, which is too large for float32"),
        ("nan", "400 of 400 values are missing"),
    ]


def test_columns_beside_a_context_that_is_named() -> None:
    look = chosen(context=["x"], y=NORMAL, x=NORMAL**2, c=LETTERS)
    assert [each.name for each in look.event] == ["y"] and look.doubts == ("column c is left out: not named",)
    several = chosen(event=["y"], y=NORMAL, x=NORMAL**2, c=LETTERS)
    assert several.doubts == ("columns x, c are left out: not named",)


def test_a_text_among_numbers_is_the_reason_for_leaving_a_column_out() -> None:
    texts = [f"{value:.4f}" for value in NORMAL]
    texts[48] = "n.a."
    place = "row 48 has 'n.a.', and most of its values are numbers"
    advice = "write a number there, or nothing if it is missing"
    assert chosen(y=NORMAL, x=texts).doubts == (f"column x is left out: {place}: {advice}",)


def test_a_column_without_a_name_is_left_out_with_a_reason() -> None:
    columns = {"": np.arange(N), "y": NORMAL, "label": LETTERS}
    assert chosen(**columns).doubts == ('column "" is left out: it numbers the rows',)
    looks = [choose(see([TableColumns(columns)]), "x.csv", label="", weight=""), chosen(**{**columns, "": LETTERS})]
    assert [[each.name for each in look.left_out] for look in looks] == [[""], []]
    assert looks[1].label is None and [each.name for each in looks[1].context] == ["", "label"]


def test_doubts() -> None:
    assert chosen(y=np.where(np.arange(N) % 2, 0.0, NORMAL)).doubts == (
        "column y: 50% of its values are 0: its density grows there without bound; condition on it",
    )
    assert not chosen(y=NORMAL[:10], x=without(NORMAL[:10], 5)).event[0].doubt  # each is a tenth or a fifth of them
    keep = "To keep them, name such columns as the context, where `fill` takes the place of a missing value"
    lacking = chosen(y=without(NORMAL, 2), x=NORMAL, z=without(NORMAL, 1), c=without(LETTERS, 3))
    assert lacking.doubts == (f"rows that lack a value are left out: of 400 rows, 2 without y, 1 without z. {keep}",)
    many = chosen(**{f"x{i}": without(NORMAL, 2) for i in range(9)}).doubts[0]
    assert "2 without x7 and 1 more. To keep" in many and "x8" not in many


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown event": ({"event": ["z"]}, "x.csv has no column 'z'; its columns are y, c"),
    "unknown events": ({"event": ["z", "y", "d"]}, "x.csv has no columns 'z', 'd'; its columns are y, c"),
    "an unknown context": ({"context": ["z"]}, "x.csv has no column 'z'"),
    "a column for both": ({"event": ["y"], "context": ["y"]}, "column 'y' is named twice"),
    "no numbers": ({"y": LETTERS}, "no column of numbers that vary, of which an event could be made$"),
    "a line with units": (
        {"y": ["kg", *map(str, NORMAL[1:])]},
        "no column of numbers that vary, .*; column y is left out: row 0 has 'kg', and most of its values are numbers",
    ),
    "few rows": ({"y": NORMAL[:9], "c": LETTERS[:9]}, "fewer than 10 rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    changed, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        chosen(**{"y": NORMAL, "c": LETTERS, **changed})


def test_batches_see_what_the_whole_sees() -> None:
    columns = {"x": without(3 * NORMAL + 1e4, 5), "k": RANDOM.integers(0, 5, N), "c": LETTERS}
    table = TableColumns(columns)
    parts = [{name: values.slice(start, 37) for name, values in table.items()} for start in range(0, N, 37)]
    for whole, some in zip(see([table]), see(parts), strict=True):
        assert (some.rows, some.missing, some.kind, some.digits, len(some.texts)) == (
            whole.rows, whole.missing, whole.kind, whole.digits, len(whole.texts),
        )  # fmt: skip
        if whole.kind == "number":
            assert (some.low, some.high, some.counts_rows) == (whole.low, whole.high, whole.counts_rows)
            assert some.mean == pytest.approx(whole.mean, rel=1e-12)
            assert some.deviation == pytest.approx(whole.deviation, rel=1e-9)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_a_spec_for_a_table(tmp_path: Path, suffix: str) -> None:
    path = written(pa.table({"x": NORMAL, "size": np.exp(3 * NORMAL), "c": LETTERS}), tmp_path / f"x{suffix}")
    text = starting_spec(look(str(path)))
    spec = read_spec(text)
    assert spec.event.shape == (2,) and spec.context is not None and spec.context.shape == (2,)
    assert "domain: [real, positive]" in text and "- use: map/to_reals" in text
    assert "{column: c, kind: category, categories: [a, b]}" in text


def test_positive_columns_are_offered_a_domain(tmp_path: Path) -> None:
    """Data can't tell whether its values must be positive: the domain is a comment, and valid if it is taken."""
    columns = {"temp": NORMAL + 60, "y": NORMAL, "count": np.arange(N) % 7 + 3, "size": np.exp(3 * NORMAL)}
    path = written(pa.table(columns), tmp_path / "x.csv")
    text = starting_spec(look(str(path)))
    given, offered = (
        "event: {shape: [4], domain: [real, real, real, positive]}",
        "domain: [positive, real, positive, positive]}",
    )
    assert f"\n{given}" in text and f"\n# event: {{shape: [4], {offered}" in text
    assert "use it if values of temp, count can never lie outside" in text and text.count("map/to_reals") == 1
    taken = starting_spec(look(str(path), event="temp,y")).replace("# - use", "- use")
    taken = re.sub(r"^event: .*$", "", taken, flags=re.MULTILINE).replace("# event", "event")
    assert [each.low for each in read_spec(taken).event.domains] == [0, -math.inf]
    assert "domain" not in starting_spec(look(str(path), event="y"))


def test_columns_that_are_named(tmp_path: Path) -> None:
    path = written(pa.table({"x": NORMAL, "z": NORMAL[::-1], "c": LETTERS}), tmp_path / "x.csv")
    spec = read_spec(starting_spec(look(str(path), event="z", context="x,c")))
    assert spec.event.shape == (1,) and spec.context is not None and spec.context.shape == (3,)
    assert "# without" not in starting_spec(look(str(path), "x, c", "z"))
    assert "# without x: not named" in starting_spec(look(str(path), "c", "z"))


def test_a_name_that_two_columns_have_matters_only_if_it_is_used(tmp_path: Path) -> None:
    rows = "".join(f"{x:.4f},{-x:.3f},1,2\n" for x in NORMAL)
    (tmp_path / "x.csv").write_text(f"x,z,a,a\n{rows}")
    text = starting_spec(look(str(tmp_path / "x.csv"), event="x"))
    assert re.findall("# without (.*): not named", text) == ["z", "a"]
    assert len(load_data(read_spec(text))["train"].x) > 0.7 * len(NORMAL)
    with pytest.raises(DataError, match=r"x.csv has more than one column 'a'"):
        look(str(tmp_path / "x.csv"), event="x", context="a")


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", NORMAL[:, None])
    with pytest.raises(DataError, match=r"--event names columns of a table"):
        look(str(tmp_path / "x.npy"), event="x")
    (tmp_path / "x.csv").write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match=r"x.csv has more than one column 'a'"):
        look(str(tmp_path / "x.csv"))
    with pytest.raises(DataError, match=r"y.csv can't be read: .*No such file"):
        look(str(tmp_path / "y.csv"))
