"""From a table to a bundle that takes the same table: torch, the runtime and its Scorer agree."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import flowkit.train
import flowkit_runtime
from flowkit.cli.main import app as flowkit_app
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data
from flowkit_runtime.batch import Scorer
from flowkit_runtime.cli.main import app
from flowkit_runtime.errors import InputError
from tests.serving.asking import ask, serving
from tests.tables.tables import N, small_spec, small_table, written


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the table x.csv, and bundle, the export of an untrained flow for it."""
    place = tmp_path_factory.mktemp("tables")
    spec = read_spec(small_spec(written(small_table(), place / "x.csv")))
    torch.manual_seed(0)
    flow = Flow.from_spec(spec)
    train = load_data(spec)["train"]
    x, context = torch.tensor(train.x[:]), torch.tensor(train.context[:])
    flow.initialize(x, context)
    export(flow, place / "bundle", x[:32], context[:32])
    flow.save(place / "weights.safetensors")
    return place


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


def scores(path: Path) -> list[float | None]:
    with path.open() as file:
        return [float(row["score"]) if row["score"] else None for row in csv.DictReader(file)]


def test_everyone_scores_the_same(place: Path) -> None:
    result = run("score", place / "bundle", place / "x.csv", "-o", place / "s.csv")
    assert "1 event lacks a value, and has no score" in result.output
    given = scores(place / "s.csv")
    assert len(given) == N and given[5] is None and given.count(None) == 1
    found = [score for score in given if score is not None]

    spec = read_spec(small_spec(place / "x.csv"))
    flow = Flow.from_spec(spec)
    flow.load_state_dict(load_file(place / "weights.safetensors"))
    parts = load_data(spec).values()
    torch_scores = np.concatenate([flow.nll(torch.tensor(p.x[:]), torch.tensor(p.context[:])).detach() for p in parts])
    assert np.allclose(np.sort(found), np.sort(torch_scores), atol=1e-5)

    batch = {name: column.to_numpy(zero_copy_only=False) for name, column in zip(*_columns(place), strict=True)}
    scored = Scorer(place / "bundle")(batch)["score"]
    assert np.allclose(np.delete(scored, 5), found, atol=1e-6) and np.isnan(scored[5])

    model = flowkit_runtime.load(place / "bundle")
    assert np.array_equal(model.score(*model.from_table(pyarrow.csv.read_csv(place / "x.csv"))), scored, equal_nan=True)


def test_contexts_of_a_table_in_python_are_those_of_the_command(place: Path) -> None:
    written(small_table().select(["t", "c", "y"]).slice(0, 3), place / "c.csv")
    run("sample", place / "bundle", "-n", 2, "--context", place / "c.csv", "-o", place / "drawn.csv")
    model = flowkit_runtime.load(place / "bundle")
    contexts = model.context_from_table(pyarrow.csv.read_csv(place / "c.csv"))
    drawn = model.to_table(model.sample(6, seed=0, context=np.repeat(contexts, 2, axis=0)))
    with (place / "drawn.csv").open() as file:
        expected = list(csv.DictReader(file))
    assert [float(row["x"]) for row in expected] == pytest.approx(drawn["x"].tolist(), rel=1e-5)
    assert [int(row["k"]) for row in expected] == drawn["k"].tolist()


def test_tables_in_the_place_of_arrays_are_refused(place: Path) -> None:
    model, table = flowkit_runtime.load(place / "bundle"), small_table()
    x, context = model.from_table(table.slice(0, 3))
    for method in (model.score, model.log_prob, model.encode, model.reconstruction_error):
        with pytest.raises(InputError, match="x is a table: pass the x and the context that model"):
            method(table)
        for given, what in ((table, "context is a table"), (None, "this flow needs a context, of the columns c, y, t")):
            with pytest.raises(InputError, match=rf"{what}: pass what model.context_from_table\(table\) returns"):
                method(x, given)
    with pytest.raises(InputError, match="context is a table: pass what"):
        model.sample(2, context=table)
    with pytest.raises(InputError, match="there are no columns 'y', 't'"):
        model.context_from_table(table.select(["c"]))
    assert len(model.score(x, context)) == 3


def _columns(place: Path) -> tuple[list[str], list[Any]]:
    table = small_table()
    return table.column_names, table.columns


def test_the_columns_may_be_in_any_order(place: Path) -> None:
    table = small_table().slice(0, 20)
    reordered = table.select(sorted(table.column_names, reverse=True)).append_column("more", pa.array([1] * 20))
    written(reordered, place / "r.parquet")
    run("score", place / "bundle", place / "r.parquet", "-o", place / "r.csv")
    run("score", place / "bundle", written(table, place / "t.csv"), "-o", place / "s.csv")
    assert scores(place / "r.csv") == pytest.approx(scores(place / "s.csv"), abs=1e-6, nan_ok=True)


def test_rows_without_any_value(place: Path) -> None:
    table = small_table().slice(5, 1)
    result = run("score", place / "bundle", written(table, place / "one.csv"), "-o", place / "one-scores.csv")
    assert scores(place / "one-scores.csv") == [None] and "0 events scored" in result.output


REFUSED: dict[str, tuple[str, str]] = {
    "a column too few": ("x,k,c,y\n1,2,a,3\n", "has no column 't'; its columns are x, k, c, y"),
    "an unknown category": (
        "x,k,c,y,t\n1,2,z,3,2020-01-01\n",
        "column 'c' has 'z' in row 0; its categories are a, b",
    ),
    "a fraction": ("x,k,c,y,t\n1,2.5,a,3,2020-01-01\n", "column 'k' has 2.5 in row 0, which isn't a whole number"),
    "text": ("x,k,c,y,t\nmany,2,a,3,2020-01-01\n", "column 'x' of row 0 holds no number"),
    "a decimal comma": (
        "x;k;c;y;t\n1,5;2;a;3;2020-01-01\n",
        "separated by ';': save it with commas and points: "
        "pandas.read_csv(FILE, sep=';', decimal=',').to_csv('x.csv', index=False)",
    ),
    "tabs": ("x\tk\tc\n1.5\t2\ta\n", "pandas.read_csv(FILE, sep='\\t').to_csv('x.csv', index=False)"),
    "nothing": ("", "can't be read as CSV"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_refused(place: Path, case: str) -> None:
    content, message = REFUSED[case]
    (place / "bad.csv").write_text(content)
    result = run("score", place / "bundle", place / "bad.csv", "-o", place / "bad-scores.csv", code=2)
    assert message in " ".join(result.stderr.split())
    assert not (place / "bad-scores.csv").exists()


def test_columns_and_contexts_of_the_command_line(place: Path) -> None:
    for option in (["--columns", "x,k"], ["--context-columns", "c"], ["--context", "3"]):
        result = run("score", place / "bundle", place / "x.csv", *option, code=2)
        assert "this bundle knows the columns" in result.stderr


def test_samples_for_each_row_of_a_table(place: Path) -> None:
    (place / "c.csv").write_text("t,y,c\n2020-01-01,1,a\n2020-01-09,,b\n")
    result = run("sample", place / "bundle", "-n", 3, "--context", place / "c.csv", "-o", place / "drawn.csv")
    assert "6 samples" in result.output
    drawn = pyarrow.csv.read_csv(place / "drawn.csv")
    assert drawn.column_names == ["c", "y", "t", "x", "k"]
    assert drawn["c"].to_pylist() == ["a"] * 3 + ["b"] * 3 and drawn["k"].type == pa.int64()
    run("sample", place / "bundle", "--context", place / "c.csv", "-o", place / "drawn.parquet", "-n", 2)
    assert pyarrow.parquet.read_table(place / "drawn.parquet").num_rows == 4


CONTEXTS: dict[str, tuple[list[str], str]] = {
    "none": ([], "this flow needs a context: --context FILE.csv, with the columns c, y, t"),
    "a category": (["--context", "a"], "the context 'a' is no table: --context FILE.csv, with the columns c, y, t"),
}


@pytest.mark.parametrize("case", CONTEXTS)
def test_samples_without_a_table_of_contexts(place: Path, case: str) -> None:
    options, message = CONTEXTS[case]
    result = run("sample", place / "bundle", *options, "-o", place / "n.csv", code=2)
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("query, body", [("?n=2", b""), ("?context=oak", b""), ("", {"context": "oak"})])
def test_samples_over_http_without_an_object_as_the_context(place: Path, query: str, body: Any) -> None:
    reply = ask(serving({"bundle": place / "bundle"}), f"/bundles/bundle/sample{query}", body)
    example = re.fullmatch(r"this flow needs a context: an object with c, y, t, such as (.*)", reply.json["detail"])
    assert reply.status == 422 and example
    given = {"context": json.loads(example[1])}
    assert ask(serving({"bundle": place / "bundle"}), "/bundles/bundle/sample", given).status == 200


def test_info_lists_the_columns(place: Path) -> None:
    assert "columns     x, k | c, y, t" in run("info", place / "bundle").output


def test_a_run_names_the_columns_of_the_context_and_how_to_draw(tmp_path: Path) -> None:
    spec = small_spec(written(small_table(), tmp_path / "x.csv"))
    flowkit.train.train(spec | {"train": {"epochs": 1, "batch_size": 64}}, tmp_path / "run")
    columns = "a bundle takes a table with the columns c, y, t: flowkit export"
    for given, why in ((), "this flow needs a context"), (("--context", "new.csv"), "'new.csv' is no .npy file"):
        arguments = ["sample", str(tmp_path / "run"), "-o", str(tmp_path / "s.npy"), *given]
        result = CliRunner().invoke(flowkit_app, arguments)
        said = " ".join(result.output.split())
        assert result.exit_code == 2 and f"{why}: {columns}" in said
        assert f"flowkit-runtime sample DIR --context {given[-1] if given else 'FILE.csv'} -o samples.csv" in said
    table = ["sample", str(tmp_path / "run"), "-o", "s.csv", "--context", "new.csv"]
    said = " ".join(CliRunner().invoke(flowkit_app, table).output.split())
    assert "flowkit-runtime sample DIR --context new.csv -o s.csv" in said
    np.save(tmp_path / "c.npy", np.zeros(6))
    arguments = ["sample", str(tmp_path / "run"), "-o", str(tmp_path / "s.npy"), "--context", str(tmp_path / "c.npy")]
    assert CliRunner().invoke(flowkit_app, arguments).exit_code == 0 and (tmp_path / "s.npy").exists()
