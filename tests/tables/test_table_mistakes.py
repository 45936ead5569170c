"""Tables as strangers bring them: each gives the right result, or an error that names the column and the row."""

from __future__ import annotations

import gzip
import os
import re
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

import flowkit_runtime
from flowkit.errors import DataError, FlowkitError
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.starting import TableLook, look, starting_spec
from flowkit.train import load_data
from flowkit_runtime.cli.main import app
from flowkit_runtime.columns import Column, Preprocessing
from flowkit_runtime.errors import InputError
from flowkit_runtime.frames import TableColumns
from flowkit_runtime.preprocessing import decode, encode, encode_context
from tests.tables.tables import N, small_spec, small_table, written

ROWS = 40
RANDOM = np.random.default_rng(0)
X, Y = ([f"{value:.4f}" for value in values] for values in RANDOM.normal(size=(2, ROWS)))
LETTERS = ["a", "b"] * (ROWS // 2)


def changed(column: Any, row: int, value: Any) -> list[Any]:
    return [value if i == row else each for i, each in enumerate(column)]


def csv(**columns: Any) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in [tuple(columns), *zip(*columns.values(), strict=True)])


def looked_at(path: Path, content: Any, **names: str) -> TableLook:
    if isinstance(content, pa.Table):
        pa.parquet.write_table(content, path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = look(str(path), **names)
    assert isinstance(found, TableLook)
    read_spec(starting_spec(found))
    return found


OTHER_FORMATS: dict[str, tuple[list[Any], str]] = {
    "thousands": (
        [f'"{1000 * (i % 3 + 1):,}"' for i in range(ROWS)],
        r"row 0 \(line 2\) has '1,000', a number in another format",
    ),
    "decimal commas": (
        [f'"{i % 4},5"' for i in range(ROWS)],
        r"row 0 \(line 2\) has '0,5', a number .*; pandas.read_csv\(FILE, decimal=','\) reads",
    ),
    "blanks": ([f"{i % 4 + 1} 000" for i in range(ROWS)], r"row 0 \(line 2\) has '1 000', a number in another format"),
    "percent": ([f"{i % 9}%" for i in range(ROWS)], r"row 0 \(line 2\) has '0%', a number in another format"),
    "dollars": ([f"${i % 9}.50" for i in range(ROWS)], r"row 0 \(line 2\) has .* a number in another format"),
    "euros": ([f"{i % 9} €" for i in range(ROWS)], r"row 0 \(line 2\) has '0 €', a number in another format"),
    "day first": ([f"{i % 28 + 1:02}/02/2013" for i in range(ROWS)], "'01/02/2013' in row 0, which is no time like"),
    "dots": ([f"{i % 28 + 1}.2.2013" for i in range(ROWS)], "'1.2.2013' in row 0, which is no time like 2013-01-31"),
    "months by name": ([f"{i % 28 + 1} Jan 2013" for i in range(ROWS)], "'1 Jan 2013' in row 0, which is no time"),
    "no such day": (changed(["2013-01-01", "2013-01-02"] * 20, 7, "2013-02-30"), "'2013-02-30' in row 7, which is no"),
    "some zones": (
        changed(["2013-01-01 05:00"] * ROWS, 7, "2013-01-02 05:00Z"),
        "row 7, with a zone, and times before",
    ),
    "infinity": (changed(Y, 9, "inf"), r"row 9 \(line 11\) has inf, which is too large for float32"),
    "an overflow": (changed(Y, 9, "1e39"), r"row 9 \(line 11\) has 1e\+39, which is too large for float32"),
    "an underflow": ([f"{each}e-40" for each in Y], "too little for float32: multiply them"),
    "a question mark": (
        changed(range(ROWS), 9, "?"),
        r"row 9 \(line 11\) has '\?', and most of its values are numbers: write a number",
    ),
    "units": ([f"{i} kg" for i in range(ROWS)], "most rows have a category of their own"),
    "beyond 2^53": ([2**53 + i * 7 % 11 for i in range(ROWS)], "whole numbers from 2\\^53 on aren't exact"),
    "nothing": ([""] * ROWS, "40 of 40 values are missing"),
}


@pytest.mark.parametrize("case", OTHER_FORMATS)
def test_columns_that_are_left_out_with_the_reason(tmp_path: Path, case: str) -> None:
    values, reason = OTHER_FORMATS[case]
    found = looked_at(tmp_path / "x.csv", csv(x=X, y=values))
    doubts = [f"{each.name}: {each.reason} {each.doubt}" for each in (*found.context, *found.left_out)]
    assert [each.name for each in found.event] == ["x"] and len(doubts) == 1
    assert re.search(reason, doubts[0]), doubts


TYPES: dict[str, Any] = {
    "lists": [[i] for i in range(ROWS)],
    "structs": [{"a": i} for i in range(ROWS)],
    "durations": pa.array(range(ROWS), pa.duration("s")),
    "bytes": [b"\xff"] * ROWS,
}


@pytest.mark.parametrize("case", TYPES)
def test_types_that_nothing_is_made_of(tmp_path: Path, case: str) -> None:
    table = pa.table({"x": list(map(float, X)), "y": TYPES[case]})
    (left_out,) = looked_at(tmp_path / "x.parquet", table).left_out
    assert left_out.name == "y" and "which is neither numbers, times nor text" in left_out.reason
    with pytest.raises(FlowkitError, match="column 'y' can't be used: it holds"):
        look(str(tmp_path / "x.parquet"), event="y")


FORMS: dict[str, tuple[Any, Column]] = {
    "blanks around numbers": ([f" {each} " for each in Y], Column("y")),
    "tiny numbers": ([f"{each}e-20" for each in Y], Column("y")),
    "nanoseconds": (
        [f"1970-01-0{i % 9 + 1} 00:00:00.123456789" for i in range(ROWS)],
        Column("y", "time", 3.75, 2.586),
    ),
    "old times": ([f"1066-10-{i % 9 + 1:02}" for i in range(ROWS)], Column("y", "time", -329902.25, 2.586)),
    "texts of YAML": (
        ["null ", "~", "1e5x", "- a"] * 10,
        Column("y", "category", categories=("- a", "1e5x", "null ", "~")),
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_columns_that_are_understood(tmp_path: Path, case: str) -> None:
    values, column = FORMS[case]
    found = looked_at(tmp_path / "x.csv", csv(x=X, y=values))
    assert column in [each.column for each in (*found.event, *found.context)]


NO_TABLES: dict[str, tuple[Any, dict[str, str], str]] = {
    "UTF-16": (csv(x=X, y=Y).encode("utf-16"), {}, "it is UTF-16 text: save it as UTF-8"),
    "UTF-16 without a mark": (csv(x=X, y=Y).encode("utf-16-le"), {}, "NUL characters: save it as text in UTF-8"),
    "latin-1": (
        csv(x=X, c=changed(LETTERS, 2, "ä")).encode("latin-1"),
        {},
        "column 'c' of row 2 isn't UTF-8 text .*: save the file as UTF-8",
    ),
    "gzip": (gzip.compress(csv(x=X).encode()), {}, "it is compressed: unpack it"),
    "a spreadsheet": (b"PK\x03\x04" + bytes(99), {}, "it is a spreadsheet or an archive: save it as CSV"),
    "Parquet": (b"PAR1" + bytes(99), {}, "it is a Parquet file: let its name end with .parquet"),
    "bars": (csv(x=X, y=Y).replace(",", "|"), {}, r"separated by '\|'"),
    "blanks": (csv(x=X, y=Y).replace(",", " "), {}, "separated by ' '"),
    "a row for names": ("5.1,3.5,a\n" + csv(x=X, y=Y, c=LETTERS), {}, "a row, or names"),
    "a header only": ("x,y\n", {"event": "x"}, "fewer than 10 rows"),
    "another case": (csv(Price=X, y=Y), {"event": "price"}, r"no column 'price' \(did you mean 'Price'\?\)"),
    "a quote": (csv(x=X, y=Y), {"event": '"x,y'}, "is no list of columns as CSV has them: unexpected end"),
    "blanks in two names": (" y,y \n1,2\n" * 12, {"event": "y"}, r"no column 'y' \(did you mean"),
    "no complete row": (
        csv(
            x=[each if i % 2 else "" for i, each in enumerate(X)], y=["" if i % 2 else each for i, each in enumerate(Y)]
        ),
        {},
        "40 of 40 rows lack a value",
    ),
    "10,000 columns": (csv(**{f"c{i}": [i] for i in range(10_000)}), {}, "10,000 columns, .* name some with --event"),
    "all missing, by name": (csv(x=X, y=[""] * ROWS), {"event": "y"}, "'y' can't be used: all its values are missing"),
    "no name": (csv(x=X), {"event": ","}, "names no column"),
}


@pytest.mark.parametrize("case", NO_TABLES)
def test_files_that_are_refused(tmp_path: Path, case: str) -> None:
    content, names, message = NO_TABLES[case]
    with pytest.raises(FlowkitError, match=message):
        looked_at(tmp_path / "x.csv", content, **names)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(FlowkitError, match=r"is neither a .npy file nor a table \(.csv"):
        look(str(tmp_path / "x.xlsx"))
    with pa.ipc.new_stream(str(tmp_path / "x.arrow"), pa.schema([("x", pa.float64())])) as stream:
        stream.write_table(pa.table({"x": [1.0]}))
    with pytest.raises(FlowkitError, match="is an Arrow stream: write a file"):
        look(str(tmp_path / "x.arrow"))


NAMES: dict[str, tuple[str, str, list[str]]] = {
    "blanks in a header": ("a, b, c", "b,a", [" b", "a"]),
    "blanks in the option": ("a,b,c", "b, a", ["b", "a"]),
    "with and without blanks": ("a, a,c", 'a," a"', ["a", " a"]),
    "commas": ('"a,b", c,d', '"a,b", c', ["a,b", " c"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_columns(tmp_path: Path, case: str) -> None:
    header, option, names = NAMES[case]
    rows = "\n".join(f"{i * i},{i**3},{-i * i}" for i in range(12))
    found = looked_at(tmp_path / "x.csv", f"{header}\n{rows}\n", event=option)
    assert [each.name for each in found.event] == names


def test_names_of_a_label_and_a_weight(tmp_path: Path) -> None:
    found = looked_at(
        tmp_path / "x.csv", csv(**{"x": X, " c": LETTERS, " w ": range(1, ROWS + 1)}), label="c", weight="w"
    )
    assert found.label is not None and found.label.name == " c"
    assert found.weight is not None and found.weight.name == " w "


CLASSES: dict[str, str] = {"label": "b\nbase: {use: base/laplace}", "c": "b\u2028base: {use: base/laplace}"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_text_can_not_write_into_the_spec(tmp_path: Path, name: str) -> None:
    table = pa.table({"x": list(map(float, X)), name: ["a", CLASSES[name]] * (ROWS // 2)})
    text = starting_spec(looked_at(tmp_path / "x.parquet", table, label=name))
    assert "base: {use: base/laplace}" in text and read_spec(text).base.name == "base/standard_normal"


def test_a_name_can_not_write_into_the_spec(tmp_path: Path) -> None:
    name = '"a\nseed: [' + '"'
    text = starting_spec(looked_at(tmp_path / "x.csv", csv(**{"x": X, name: Y})))
    assert text.splitlines()[1] == "flowkit: 1"


def test_a_file_without_names_is_said_to_have_none(tmp_path: Path) -> None:
    found = looked_at(tmp_path / "x.csv", csv(x=X, y=Y).partition("\n")[2])
    assert found.doubts == ("the first line holds numbers, so the columns are called f0, f1 and so on",)


def test_two_of_very_many_columns(tmp_path: Path) -> None:
    wide = {f"c{i}": RANDOM.normal(size=12).round(2) for i in range(5000)}
    found = looked_at(tmp_path / "x.csv", csv(**wide), event="c3", context="c7")
    assert found.preprocessing.shapes == ((1,), (1,))


@pytest.mark.parametrize("name", ["column", "a column with a long name, " * 40])
def test_a_spec_of_very_many_columns(tmp_path: Path, name: str) -> None:
    pa.parquet.write_table(pa.table({f"{name} {i}": [*range(6)] * 2 for i in range(1000)}), tmp_path / "x.parquet")
    found = look(str(tmp_path / "x.parquet"))
    if name == "column":
        assert read_spec(starting_spec(found)).event.shape == (1000,)
        return
    with pytest.raises(DataError, match=r"x.parquet: a spec with all its columns is longer than 1 MB.*: name fewer"):
        starting_spec(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with bundle, the export of an untrained flow for the small table. Its values of x are positive."""
    place = tmp_path_factory.mktemp("mistakes")
    spec = small_spec(written(positive(small_table()), place / "x.csv"))
    spec |= {"event": {"shape": [2], "domain": ["positive", "real"]}, "flow": [{"use": "map/to_reals"}, *spec["flow"]]}
    read = read_spec(spec)
    torch.manual_seed(0)
    flow = Flow.from_spec(read)
    train = load_data(read)["train"]
    x, context = torch.tensor(train.x[:]), torch.tensor(train.context[:])
    flow.initialize(x, context)
    export(flow, place / "bundle", x[:32], context[:32])
    return place


def positive(table: pa.Table) -> pa.Table:
    values = [None if each is None else abs(each) + 0.1 for each in table["x"].to_pylist()]
    return table.set_column(table.column_names.index("x"), "x", pa.array(values))


HEADER, ROW = "x,k,c,y,t\n", "1,2,a,3,2020-01-01\n"
SCORED: dict[str, tuple[str | bytes, str | None]] = {
    "a mark of UTF-8": (b"\xef\xbb\xbf" + (HEADER + ROW).encode(), None),
    "nanoseconds": (HEADER + ROW.replace("-01\n", "-01 00:00:00.123456789\n"), None),
    "blanks": (HEADER + ROW.replace("1,", " 1 ,", 1).replace("2020", " 2020"), None),
    "lines in values": ("u," + HEADER + ('"a\n\n,b",' + ROW), None),
    "30,000 others": (
        HEADER.strip()
        + "".join(f",c{i}" for i in range(30_000))
        + "\n"
        + ROW.strip()
        + ",0.1234567890123456789012345678901234567890" * 30_000
        + "\n",
        None,
    ),
    "another case": ("X" + (HEADER + ROW)[1:], r"has no column 'x' \(did you mean 'X'\?\)"),
    "latin-1": ((HEADER + ROW.replace("a", "ä")).encode("latin-1"), "column 'c' of row 0 isn't UTF-8 text"),
    "an overflow": (HEADER + ROW + "1e39" + ROW[1:], r"column 'x' has 1e\+39 in row 1: float32 ends at"),
    "an overflow in the context": (
        HEADER + ROW.replace(",3,", ",1e39,"),
        r"column 'y' has 1e\+39 in row 0, divided by 2",
    ),
    "a large integer": (HEADER + ROW.replace(",2,", ",10000001,"), "column 'k' has 10000001.* in row 0: float32 can't"),
    "an inexact integer": (
        HEADER + ROW.replace(",2,", ",9007199254740993,"),
        "'k' has .* in row 0: whole numbers from 2",
    ),
    "outside of the domain": (
        HEADER + ROW + "-1" + ROW[1:],
        "bad.csv: x must lie in the domain .* in column 'x'; in row 1",
    ),
    "day first": (
        HEADER + ROW.replace("2020-01-01", "01/02/2020"),
        "'t' has '01/02/2020' in row 0, which is no time like",
    ),
    "thousands": (HEADER + ROW.replace(",3,", ',"1,234",'), "column 'y' of row 0 holds no number"),
}


def run(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("case", SCORED)
def test_files_to_score(place: Path, tmp_path: Path, case: str) -> None:
    content, message = SCORED[case]
    (tmp_path / "bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, text = run("score", place / "bundle", tmp_path / "bad.csv", "-o", tmp_path / "s.csv")
    assert (code, (tmp_path / "s.csv").exists()) == ((0, True) if message is None else (2, False)), text
    assert sorted(os.listdir(tmp_path)) == ["bad.csv"] + ["s.csv"] * (message is None)
    if message is None:
        assert "1 event scored" in text
    else:
        with pytest.raises(InputError, match=message):
            raise InputError(text)


CONTEXTS: dict[str, tuple[str, str]] = {
    "a missing value": ("c,y,t\na,1,2020-01-01\na,1,\n", "c.csv: there is no value in column 't' of row 1"),
    "an unknown category": ("c,y,t\na,1,2020-01-01\nz,1,2020-01-01\n", "c.csv: column 'c' has 'z' in row 1"),
    "an overflow": ("c,y,t\na,1e39,2020-01-01\n", "c.csv: column 'y' has 1e+39 in row 0"),
}


@pytest.mark.parametrize("case", CONTEXTS)
def test_contexts_of_samples(place: Path, tmp_path: Path, case: str) -> None:
    content, message = CONTEXTS[case]
    (tmp_path / "c.csv").write_text(content)
    code, text = run("sample", place / "bundle", "-n", 5, "--context", tmp_path / "c.csv", "-o", tmp_path / "s.csv")
    assert code == 2 and message in text
    assert os.listdir(tmp_path) == ["c.csv"]


def test_no_command_overwrites_its_contexts(place: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("c,y,t\na,1,2020-01-01\n")
    code, text = run("sample", place / "bundle", "--context", tmp_path / "c.csv", "-o", tmp_path / "c.csv")
    assert code == 2 and "is the context itself" in text
    assert (tmp_path / "c.csv").read_text() == "c,y,t\na,1,2020-01-01\n"


def test_a_row_without_latents(place: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(HEADER + ROW + ROW[1:])
    code, text = run("encode", place / "bundle", tmp_path / "x.csv", "-o", tmp_path / "z.npz")
    assert code == 2 and "x.csv: there is no value in column 'x' of row 1" in text


BATCH: dict[str, Any] = {"x": [1.0] * 3, "k": [2] * 3, "c": ["a"] * 3, "y": [3.0] * 3, "t": ["2020-01-01"] * 3}
FRAMES: dict[str, Callable[[], Any]] = {
    "others of any kind": lambda: BATCH | {"u": [1, "a", None], "image": np.zeros((3, 2)), "n": object()},
    "others twice": lambda: pd.concat(
        [pd.DataFrame(BATCH), pd.DataFrame({"u": [1]}), pd.DataFrame({"u": [1]})], axis=1
    ),
    "a tensor": lambda: BATCH | {"x": torch.ones(3)},
    "a sparse column": lambda: pd.DataFrame(BATCH).assign(x=pd.arrays.SparseArray([1.0] * 3)),
    "numbers of all types": lambda: BATCH | {"x": np.array([1, 1.0, Decimal(1)], object)},
    "big endian": lambda: BATCH | {"x": np.ones(3, ">f8")},
    "views of text": lambda: pa.table(BATCH | {"t": pa.array(BATCH["t"], pa.string_view())}),
    "dictionaries": lambda: pa.table(BATCH | {"t": pa.array(BATCH["t"]).dictionary_encode()}),
    "dates": lambda: pd.DataFrame(BATCH).assign(t=[date(2020, 1, 1)] * 3),
    "times with a zone": lambda: pd.DataFrame(BATCH).assign(t=pd.to_datetime(BATCH["t"]).tz_localize("UTC")),
    "categories of pandas": lambda: pd.DataFrame(BATCH).assign(c=pd.Categorical(["a"] * 3, ["z", "a"])),
}


@pytest.fixture(scope="module")
def model(place: Path) -> flowkit_runtime.Model:
    return flowkit_runtime.load(place / "bundle")


@pytest.mark.parametrize("case", FRAMES)
def test_tables_of_python(model: flowkit_runtime.Model, case: str) -> None:
    for found, expected in zip(model.from_table(FRAMES[case]()), model.from_table(BATCH), strict=True):
        assert np.array_equal(found, expected)


class Unreadable:
    """A DataFrame with a column whose type Arrow lacks, such as polars' Int128."""

    columns = ("x",)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise TypeError("no such type")


WRONG: dict[str, tuple[Any, str]] = {
    "mixed types": (BATCH | {"x": [1, "1", 1]}, "'x' is of mixed types: it has '1' in row 1, and 1 in row 0"),
    "mixed times": (BATCH | {"t": [datetime(2020, 1, 1), "2020-01-01", None]}, "'t' is of mixed types: .* in row 1"),
    "one value": (BATCH | {"x": 1.0}, "column 'x' is 1.0, not a list or an array"),
    "a text": (BATCH | {"c": "aaa"}, "column 'c' is 'aaa', not a list or an array"),
    "two dimensions": (BATCH | {"x": np.ones((3, 1))}, r"column 'x' has the shape \[3, 1\]"),
    "complex numbers": (BATCH | {"x": np.ones(3) * 1j}, "column 'x' can't be read"),
    "a short column": (BATCH | {"y": [3.0]}, "column 'y' has 1 rows, and column 'x' has 3"),
    "very large integers": (BATCH | {"k": [2**70] * 3}, "column 'k'.* in row 0"),
    "unsigned": (BATCH | {"k": np.full(3, 2**64 - 1, np.uint64)}, "column 'k' has .* in row 0: whole numbers from"),
    "a duration": (pd.DataFrame(BATCH).assign(t=pd.to_timedelta([1, 2, 3])), "'t' holds duration.*, not times"),
    "a late day": (pa.table(BATCH | {"t": pa.array([2**31 - 1] * 3, pa.date32())}), "'t' has a time out of range"),
    "a late time": (pa.table(BATCH | {"t": pa.array([2**62] * 3, pa.timestamp("s"))}), "'t' has a time out of range"),
    "a type that Arrow lacks": (Unreadable(), "Arrow can't read this Unreadable: no such type"),
    "a series": (pd.Series([1.0]), "a DataFrame, an Arrow table, or .* is wanted; Arrow can't read this Series"),
    "a name twice": (pd.DataFrame(BATCH).set_axis(["x", "x", "c", "y", "t"], axis=1), "no column 'k'|more than one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tables_of_python_that_are_refused(model: flowkit_runtime.Model, case: str) -> None:
    table, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        model.from_table(table)


SAME: dict[str, tuple[list[str], Any]] = {
    "booleans as pandas writes them": (["False", "True"], [False, True]),
    "booleans of a spreadsheet": (["false", "true"], ["FALSE", "TRUE"]),
    "whole floats": (["1.0", "2.0"], [1, 2]),
    "zeros at the end": (["1.50", "2.25"], [1.5, 2.25]),
    "floats in CSV": (["1", "2"], ["1.0", "2.0"]),
    "float32": (["0.1", "0.2"], np.array([0.1, 0.2], np.float32)),
    "beyond 2^53": (["9007199254740993", "9007199254740992"], [9007199254740993, 9007199254740992]),
    "large floats": (["1", "1e+20"], [1.0, 1e20]),
}


@pytest.mark.parametrize("case", SAME)
def test_categories_that_are_the_same(case: str) -> None:
    categories, values = SAME[case]
    rule = Preprocessing((), (Column("c", "category", categories=tuple(categories)),))
    assert encode_context(rule, TableColumns({"c": values})).tolist() == [[1, 0], [0, 1]]


def test_zeros_at_the_front_are_another_category() -> None:
    rule = Preprocessing((), (Column("c", "category", categories=("1", "2")),))
    with pytest.raises(InputError, match="'c' has '01' in row 1; its categories are 1, 2"):
        encode_context(rule, TableColumns({"c": ["1", "01"]}))


def test_extreme_samples_have_no_wrong_values() -> None:
    rule = Preprocessing((Column("k", "integer"), Column("t", "time")))
    columns = decode(rule, np.array([[1e30, 1e30], [-1e30, -1e30]], np.float32))
    assert columns["k"].tolist() == pytest.approx([1e30, -1e30])
    assert columns["t"][0] > np.datetime64("9999-01-01") and columns["t"][1] < np.datetime64("-009999-01-01")


def test_noise_has_its_room() -> None:
    rule = Preprocessing((Column("k", "integer", offset=1e9),))
    assert np.floor(encode(rule, {"k": pa.array([10**9 + 5])})[0].astype(np.float32)) == 5


def loaded(table: pa.Table, place: Path, **data: Any) -> Any:
    place.mkdir(exist_ok=True)
    spec = small_spec(written(table, place / "x.csv"), **data)
    spec |= {
        "event": {"shape": [2], "domain": ["positive", [-1, 50]]},
        "flow": [{"use": "map/to_reals"}, *spec["flow"]],
    }
    return load_data(read_spec(spec))


def with_column(name: str, values: Any) -> pa.Table:
    table = positive(small_table())
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def of(name: str) -> list[Any]:
    values: list[Any] = positive(small_table())[name].to_pylist()
    return values


C, Z, T = small_spec(Path("x.csv"))["data"]["context"]
REFUSED: dict[str, tuple[pa.Table, dict[str, Any], str]] = {
    "outside of the domain": (
        with_column("x", changed(of("x"), 20, -2.0)),
        {},
        "row 20 .* has -2.0 in column 'x'; event.dom",
    ),
    "another one": (with_column("k", changed(of("k"), 33, 99)), {}, "row 33 .* has 99.* in column 'k'; event.domain"),
    "an overflow": (with_column("x", changed(of("x"), 30, 1e39)), {}, r"x.csv: column 'x' has 1e\+39 in row 30"),
    "a late category": (with_column("c", ["a"] * (N - 1) + ["z"]), {}, f"'c' has 'z' in row {N - 1}; its categories"),
    "no time": (
        with_column("part", changed(["2020-01-01"] * N, 40, "soon")),
        {"time": "part"},
        "'part' has 'soon' in row 40",
    ),
    "one group": (with_column("part", ["p"] * N), {"group": "part"}, "column 'part' has too few different values"),
    "small shares": (positive(small_table()), {"fractions": [0.998, 0.001, 0.001]}, "set other fractions"),
    "a large fill": (small_table(), {"context": [C, Z | {"fill": 1e39}, T]}, "fill that is too large for float32"),
    "a fill between steps": (
        small_table(),
        {"context": [C, Z | {"kind": "integer", "fill": 4}, T]},
        "no whole number of steps",
    ),
    "a fill of categories": (
        small_table(),
        {"context": [C | {"fill": 1}, Z, T]},
        "take no offset, scale, fill or period",
    ),
    "a large offset": (small_table(), {"context": [C, Z | {"offset": 1e308}, T]}, "offset: must be less than 1e"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_is_refused(tmp_path: Path, case: str) -> None:
    table, data, message = REFUSED[case]
    with pytest.raises(FlowkitError, match=message):
        loaded(table, tmp_path, **data)


def test_times_in_dictionaries_order_the_rows(tmp_path: Path) -> None:
    table = positive(small_table())
    ordered = table.set_column(1, "t", table["t"].dictionary_encode())
    pa.parquet.write_table(ordered, tmp_path / "x.parquet")
    parts = load_data(read_spec(small_spec(tmp_path / "x.parquet", time="t")))
    assert parts["train"].context[:][:, -1].max() <= parts["test"].context[:][:, -1].min()


def test_a_table_without_pyarrow_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(flowkit_runtime.InputError, match="a table needs pyarrow: pip install pyarrow"):
        TableColumns({"a": [1.0]})
