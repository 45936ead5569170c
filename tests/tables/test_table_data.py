"""The dataset data/table: files, parts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flowkit.errors import DataError, SpecError
from flowkit.plugin import Arrays
from flowkit.spec import read_spec
from flowkit.train import load_data
from tests.tables.tables import N, small_spec, small_table, written

KEPT = N - 1
"""Row 5 lacks a value of the event."""


def loaded(file: Path, **data: Any) -> dict[Any, Arrays]:
    return load_data(read_spec(small_spec(file, **data)))


def rows(arrays: Arrays) -> np.ndarray:
    assert arrays.context is not None
    return np.concatenate([arrays.x[:], arrays.context[:]], 1)


def test_all_formats_give_the_same(tmp_path: Path) -> None:
    first, *others = (
        [rows(part) for part in loaded(written(small_table(), tmp_path / f"x{suffix}")).values()]
        for suffix in (".csv", ".parquet", ".arrow")
    )
    assert [len(part) for part in first] == [239, 30, 30]
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert np.array_equal(one, two)


def test_parts_of_a_column(tmp_path: Path) -> None:
    table = small_table()
    data = loaded(written(table, tmp_path / "x.csv"), split="part")
    kept = [part for row, part in enumerate(table["part"].to_pylist()) if row != 5]
    assert {part: len(arrays.x) for part, arrays in data.items()} == {part: kept.count(part) for part in data}
    wrong = table.set_column(5, "part", pa.array(["train"] * 20 + ["training"] + ["test"] * (N - 21)))
    with pytest.raises(DataError, match=r"'part' of row 20 has 'training' instead of one of train, val, test"):
        loaded(written(wrong, tmp_path / "y.csv"), split="part")


def test_groups_stay_together(tmp_path: Path) -> None:
    data = loaded(written(small_table(), tmp_path / "x.csv"), group="t")
    days = {part: set(rows(arrays)[:, -1].tolist()) for part, arrays in data.items()}
    assert not days["train"] & days["val"] and not days["train"] & days["test"] and not days["val"] & days["test"]
    assert sum(len(each) for each in days.values()) == 28
    assert 0.7 * KEPT < len(data["train"].x) < 0.9 * KEPT


def test_the_latest_are_the_test_part(tmp_path: Path) -> None:
    data = loaded(written(small_table(), tmp_path / "x.csv"), time="t", fractions=[0.5, 0.25, 0.25])
    ends = {part: (rows(arrays)[:, -1].min(), rows(arrays)[:, -1].max()) for part, arrays in data.items()}
    assert ends["train"][1] <= ends["val"][0] and ends["val"][1] <= ends["test"][0]
    assert len(data["train"].x) == KEPT // 2


def test_truths_are_no_times(tmp_path: Path) -> None:
    table = small_table().append_column("late", pa.array([i % 2 == 0 for i in range(N)]))
    with pytest.raises(DataError, match="column 'late' holds true and false, neither times nor numbers"):
        loaded(written(table, tmp_path / "x.parquet"), time="late")


def test_parts_of_files(tmp_path: Path) -> None:
    table = small_table()
    paths = {part: str(written(table.slice(100 * i, 100), tmp_path / f"{part}.csv")) for i, part in enumerate("abc")}
    data = loaded(Path(paths["a"]), test=paths["b"])
    assert [len(arrays.x) for arrays in data.values()] == [88, 11, 100]
    data = loaded(Path(paths["a"]), val=paths["c"], test=paths["b"])
    assert [len(arrays.x) for arrays in data.values()] == [99, 100, 100]


def test_chunks_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(small_table(), tmp_path / "x.csv")
    whole = loaded(path, split="part")
    monkeypatch.setattr("flowkit_runtime.streaming.table_sources.VALUES", 42)
    for part, arrays in loaded(path, split="part").items():
        assert np.array_equal(rows(arrays), rows(whole[part]))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": ({"group": "colour"}, "x.csv has no column 'colour'; its columns are unused, t, k"),
    "a missing value": (
        {"missing": "refuse"},
        r"x.csv: there is no value in column 'x' of row 5 \(rows count",
    ),
    "no such file": ({"path": "nowhere.csv"}, "nowhere.csv can't be read: .*No such file"),
    "a folder": (
        {"path": "folder.parquet"},
        "folder.parquet is a folder: give one of its files, or join them into one",
    ),
    "another format": ({"path": "x.txt"}, "x.txt is no table: its name must end with .csv, .parquet, .arrow, .feather"),
    "a group without a value": ({"group": "c"}, "column 'c' of row 7 has None instead of a value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    changed, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    Path("folder.parquet").mkdir()
    with pytest.raises(DataError, match=message):
        loaded(written(small_table(), tmp_path / "x.csv"), **changed)


def test_a_part_without_rows(tmp_path: Path) -> None:
    table = small_table().set_column(5, "part", pa.array(["train"] * N))
    with pytest.raises(DataError, match="gives no rows to the val part"):
        loaded(written(table, tmp_path / "x.csv"), split="part")


X, K = {"column": "x"}, {"column": "k"}
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "columns for another event": ({"data": {"event": [X]}}, r"data.event: its columns make events of shape \[1\]"),
    "columns for another context": (
        {"context": {"shape": [5]}},
        r"data.context: its columns make .*\[6\].*, and .*\[5\]",
    ),
    "levels": ({"event": {"shape": [2], "levels": 9}}, "event.levels: a table's integers are dequantized"),
    "a column twice": ({"data": {"event": [X, X]}}, "data: names the column 'x' twice"),
    "two rules of parts": ({"data": {"split": "part", "group": "c"}}, "takes at most one of split, group and time"),
    "split and files": ({"data": {"split": "part", "test": "y.csv"}}, "takes split, or the files val and test"),
    "split and fractions": (
        {"data": {"split": "part", "fractions": [0.6, 0.2, 0.2]}},
        "takes split, which says the part of each row, or fractions",
    ),
    "a category without categories": (
        {"data": {"event": [X, K | {"kind": "category"}]}},
        "kind: category needs categories: .a, b., the values of the column",
    ),
    "a fill in the event": ({"data": {"event": [X, K | {"fill": 1}]}}, "is for columns of the context"),
    "a period in the event": (
        {"data": {"event": [X, K | {"period": 24}]}},
        "period is for columns of the context. Leave it out of 'k': its values are numbers on a line",
    ),
    "a period and a scale": (
        {"data": {"context": [{"column": "k", "period": 24, "scale": 2}]}},
        "takes the place of scale: it is in the units of the column",
    ),
    "a scale of 0": ({"data": {"event": [X, K | {"scale": 0}]}}, "data.event.1..scale: must be greater than 0"),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_specs_are_refused(tmp_path: Path, case: str) -> None:
    changed, message = INVALID[case]
    spec = small_spec(tmp_path / "x.csv")
    spec = {**spec, **changed, "data": {**spec["data"], **changed.get("data", {})}}
    with pytest.raises(SpecError, match=message):
        read_spec(spec)


def test_a_context_that_no_column_makes(tmp_path: Path) -> None:
    spec = small_spec(tmp_path / "x.csv", context=[])
    with pytest.raises(
        SpecError, match=r"context: its columns make no context, and the spec has(.|\n)*Leave out context"
    ):
        read_spec(spec)
