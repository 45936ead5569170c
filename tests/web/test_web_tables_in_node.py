"""The page's form of a table, run by Node: what it makes of texts is what the runtime makes of a table of one row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import flowkit_runtime
from flowkit_runtime.columns import Column, Preprocessing
from flowkit_runtime.errors import InputError
from flowkit_runtime.preprocessing import decode, encode
from flowkit_runtime.streaming.sources import Wanted
from flowkit_runtime.streaming.table_sources import PreprocessedTable
from tests.tables.tables import written
from tests.web.node import said, with_modules
from tests.web.tables import exported

pytestmark = pytest.mark.slow

MODULES = ("noise.js", "model.js", "dom.js", "table.js")
EVENT = (
    Column("x", offset=100.0, scale=2.0),
    Column("y"),
    Column("k", "integer"),
    Column("p", "integer", offset=1.0, scale=0.1),
    Column("c", "category", categories=("red, dark", "green", None)),
    Column("t", "time", offset=15000.0),
    Column("u", "time"),
)
CONTEXT = (
    Column("a", scale=4.0, fill=8.0),
    Column("b", "category", categories=("1", "2", None)),
    Column("d", "category", categories=("yes", "no")),
    Column("e", "integer", offset=-2.0),
    Column("f", "time", offset=15000.0, scale=365.0),
    Column("g", "integer", offset=10.0, scale=5.0, fill=20.0),
    Column("h", "time", scale=1000.0, fill=11000.0),
    Column("i", "integer", offset=6.0, period=24.0),
    Column("j", fill=90.0, period=360.0),
)
MIXED = Preprocessing(EVENT, CONTEXT)
ROWS: list[dict[str, str]] = [
    {
        "x": "101.5", "y": "-1e-7", "k": "-3", "p": "1.3", "c": "green", "t": "2011-01-26", "u": "1969-12-31T12:00:30",
        "a": "4", "b": "2", "d": "no", "e": "7", "f": "2012-02-29 05:00", "g": "15", "h": "2000-01-01",
        "i": "23", "j": "359.5",
    },
    {
        "x": "+.5", "y": "123456.79", "k": "1e3", "p": "0.1", "c": "", "t": "2011-01-26T12:34:56.789",
        "u": "0050-03-01", "a": "", "b": "", "d": "yes", "e": "-2", "f": "2012-02-29T05:00:00+02:30", "g": "", "h": "",
        "i": "6", "j": "",
    },
    {
        "x": "1e10", "y": "0", "k": "123456", "p": "-7.9", "c": "red, dark", "t": "2011-01-26T23:59:59Z",
        "u": "2024-12-31", "a": "-0.1", "b": "1", "d": "yes", "e": "0", "f": "2011-01-26T05-08",
        "g": "0", "h": "1999-12-31T18", "i": "7", "j": "12.25",
    },
]  # fmt: skip
TIMES = (
    "2013-01-31T05", "2013-01-31 05:00", "2013-01-31T05:00:00.5", "2013-01-31T05:00:00.123456", "2013-01-31T05Z",
    "2013-01-31T05:00+02", "2013-01-31T05:00+0200", "2013-01-31T05:00-02:30", "2012-02-29", "0001-01-01", "9999-12-31",
    "2013-01-31T0500", "2013-01-31T05:00:00.1234567", "2013-01-31Z", "2013-1-31", "20130131", "2013-02-30",
    "2013-02-29", "2013-13-01", "2013-00-01", "2013-01-00", "2013-01-31T24:00:00", "2013-01-31T23:60",
    "2013-01-31T23:59:60", "soon", "2013-01-31t05:00", "2013-01-31T05:00z", "2013-01-31T05:00:00.", "2013-01-31T05.5",
    "-2013-01-31", "2013-01", "2013-01-31T05:00+24", "2013-01-31T05:00+02:60", "2013-01-31T05:00 +02", "2013",
    "31.1.2013", "41305",
)  # fmt: skip
DOMAIN = [[None, None], [0.0, 5.0], [0.0, 10.0], [None, 3.0], [None, None], [-0.5, None], [None, None]]
REFUSED = {
    "no number": ({"x": "12,5"}, "x: “12,5” is not a number such as 12.5."),
    "no number of JavaScript's": ({"x": "0x10"}, "x: “0x10” is not a number such as 12.5."),
    "infinity": ({"x": "inf"}, "x: “inf” is not a number such as 12.5."),
    "a number that float32 can't hold": ({"x": "1e39"}, "x: “1e39” is too large."),
    "nothing": ({"k": " "}, "k: a value is wanted."),
    "nothing, in a context": ({"e": ""}, "e: a value is wanted."),
    "no category, in a context": ({"d": ""}, "d: a value is wanted."),
    "another category": ({"c": "blue"}, "c: “blue” is not one of red, dark, green, missing."),
    "a fraction": ({"k": "3.5"}, "k: “3.5” isn't a whole number."),
    "between two steps": ({"p": "1.15"}, "p: “1.15” isn't possible: the values next to it are 1.1 and 1.2."),
    "no time": ({"f": "soon"}, "f: “soon” is not a time such as 2013-01-31 or 2013-01-31T05:00:00."),
    "30 February": ({"t": "2013-02-30"}, "t: “2013-02-30” is not a time such as 2013-01-31 or 2013-01-31T05:00:00."),
    "below the domain": ({"y": "-1"}, "y: “-1” is not at least 0 and at most 5, as all of the data are."),
    "the end of the domain": ({"k": "10"}, "k: “10” is not at least 0 and at most 9, as all of the data are."),
    "above the domain": ({"p": "1.3"}, "p: “1.3” is not at most 1.2, as all of the data are."),
    "before the domain": (
        {"t": "2011-01-25"},
        "t: “2011-01-25” is not at least 2011-01-25T12:00, as all of the data are.",
    ),
}
SCRIPT = """
import { readFileSync } from "node:fs";
import * as ort from "./ort.mjs";

globalThis.ort = ort;
const { Model } = await import("./model.js");
const table = await import("./table.js");
const { event, context, rows, events, times, refused, domain, small } = JSON.parse(readFileSync("given.json"));
const texts = (columns, row) => columns.map(({ column }) => row[column]);
const tried = (work) => {
  try {
    return Array.from(work());
  } catch (error) {
    return error.message;
  }
};
const encodeEvent = (row, ends = null) => table.encodeEvent(event, texts(event, row), ends);
const encodeContext = (row) => table.encodeContext(context, texts(context, row));
const time = [{ column: "t", kind: "time", offset: 0, scale: 1, fill: null, period: null, categories: [] }];

const read = (name) => readFileSync(`${small.bundle}/${name}`);
const files = { wasm: readFileSync("ort.wasm"), encoder: read("encode.onnx"), decoder: read("decode.onnx") };
const model = await Model.open(JSON.parse(read("manifest.json")), files);
const scores = [];
for (const row of small.rows) {
  const x = table.encodeEvent(small.event, texts(small.event, row), null);
  scores.push(await model.score(x, [table.encodeContext(small.context, texts(small.context, row))]));
}

const float32 = (values) => Array.from(values, Math.fround);
console.log(JSON.stringify({
  events: rows.map((row) => Array.from(encodeEvent(row))),
  contexts: rows.map((row) => float32(encodeContext(row))),
  typed: rows.map((row) => {
    const x = table.encodeEvent(event, table.typedEvent(event, encodeEvent(row)), null);
    const given = table.encodeContext(context, table.typedContext(context, float32(encodeContext(row))));
    return { event: Array.from(x), context: float32(given) };
  }),
  fields: rows.map((row) => table.typedEvent(event, encodeEvent(row))),
  restored: events.map((x) => x.map((value, i) => table.restored(event[i], value))),
  texts: events.map((x) => x.map((value, i) => table.columnText(event[i], table.restored(event[i], value)))),
  times: times.map((text) => tried(() => table.encodeContext(time, [text]))),
  refused: refused.map((row) => tried(() => [...encodeEvent(row, domain), ...encodeContext(row)])),
  scores,
}));
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("table"))


SMALL_ROWS = [
    {"x": "0.25", "k": "3", "c": "a", "y": "2.5", "t": "2020-01-07"},
    {"x": "-1", "k": "0", "c": "", "y": "", "t": "2020-01-07T12:00"},
]


def random_events() -> np.ndarray:
    random = np.random.default_rng(0)
    whole = np.stack([random.normal(0, 9, 40), *random.integers(-1, 4, (6, 40))], 1)
    return (whole + random.random((40, 7))).astype(np.float32)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> dict[str, Any]:
    """What the modules make of the rows, by what it is. One process makes all, because it takes long to start."""
    directory = with_modules(tmp_path_factory.mktemp("node"), MODULES)
    small = flowkit_runtime.load(bundle).preprocessing
    assert small is not None
    asked = {
        **asdict(MIXED),
        "rows": ROWS,
        "events": random_events().tolist(),
        "times": TIMES,
        "refused": [ALLOWED | changed for changed, _ in REFUSED.values()],
        "domain": DOMAIN,
        "small": {"bundle": str(bundle), "rows": SMALL_ROWS, **asdict(small)},
    }
    (directory / "given.json").write_text(json.dumps(asked))
    found: dict[str, Any] = said(directory, SCRIPT)
    return found


ALLOWED = ROWS[0] | {"y": "5", "k": "9", "p": "1.2"}
"""A row within the domain."""


def of_csv(preprocessing: Preprocessing, row: Mapping[str, str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the event and the context of a row, as the runtime reads them from a CSV file that holds it alone."""
    written(pa.table({name: [text or None] for name, text in row.items()}), path)
    ((events, context),) = PreprocessedTable(path, preprocessing, Wanted((1,), None, None)).batches(0, 10)
    assert context is not None
    return events[0].astype(np.float32), context[0].astype(np.float32)


def equal_in_float32(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_max_ulp(np.array(found, np.float32), expected, maxulp=1)


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_texts_become_what_the_runtime_reads_from_a_file_of_one_row(
    given: dict[str, Any], row: int, tmp_path: Path
) -> None:
    event, context = of_csv(MIXED, ROWS[row], tmp_path / "row.csv")
    equal_in_float32(given["events"][row], event)
    equal_in_float32(given["contexts"][row], context)


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_the_form_shows_what_would_be_encoded_again(given: dict[str, Any], row: int) -> None:
    assert given["typed"][row] == {"event": given["events"][row], "context": given["contexts"][row]}


def test_the_form_shows_what_was_typed(given: dict[str, Any]) -> None:
    assert given["fields"] == [
        ["101.5", "-1e-7", "-3", "1.3", "green", "2011-01-26", "1969-12-31T12:00:30"],
        ["0.5", "123456.79", "1000", "0.1", "", "2011-01-26T12:34:56.789", "0050-03-01"],
        ["10000000000", "0", "123456", "-7.9", "red, dark", "2011-01-26T23:59:59", "2024-12-31"],
    ]


def test_events_become_what_the_runtime_decodes(given: dict[str, Any]) -> None:
    expected = decode(MIXED, random_events())
    restored = np.array(given["restored"])
    for i, column in enumerate(EVENT):
        texts, values = [row[i] for row in given["texts"]], expected[column.column]
        if column.kind == "category":
            assert texts == [value or "missing" for value in values]
        elif column.kind == "time":
            assert np.array_equal(np.array(texts, "datetime64[s]"), values)
        else:
            np.testing.assert_allclose(restored[:, i], values, rtol=1e-7)
            digits = 1e-12 if column.kind == "integer" else 5e-6
            np.testing.assert_allclose(np.array(texts, float), values, rtol=digits)


@pytest.mark.parametrize("text", TIMES)
def test_times_are_those_of_the_runtime(given: dict[str, Any], text: str) -> None:
    found = given["times"][TIMES.index(text)]
    only_time = Preprocessing((Column("t", "time"),))
    try:
        days = encode(only_time, {"t": pa.array([text])})[0][0, 0]
    except InputError:
        assert found == f"t: “{text}” is not a time such as 2013-01-31 or 2013-01-31T05:00:00."
    else:
        assert found == [pytest.approx(days, rel=1e-14)]


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_names_the_column_and_what_is_wanted(given: dict[str, Any], case: str) -> None:
    assert given["refused"][list(REFUSED).index(case)] == REFUSED[case][1]


def test_scores_are_those_of_a_file_of_one_row(given: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    model = flowkit_runtime.load(bundle)
    assert model.preprocessing is not None
    for row, found in zip(SMALL_ROWS, given["scores"], strict=True):
        event, context = of_csv(model.preprocessing, row, tmp_path / "row.csv")
        assert math.isclose(found, model.score(event[None], context[None])[0], abs_tol=1e-5)
    assert len(given["scores"]) == 2
