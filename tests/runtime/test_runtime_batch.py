"""Scoring batch by batch, as Spark and Ray Data do it. tests/test_docs.py has it in the workers of Ray."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from flowkit_runtime import InputError, load
from flowkit_runtime.batch import Scorer

THRESHOLD = {"quantile": 0.9, "score": 10.0, "events": 300}


def points(n=200):
    return (8 + 4 * np.random.default_rng(0).normal(size=(n, 1, 2, 2))).astype(np.float32)


def columns(x):
    return {name: x.reshape(len(x), 4)[:, i] for i, name in enumerate("abcd")}


def test_columns_of_numbers_or_one_of_arrays(make_bundle):
    bundle, x = make_bundle(levels=None, threshold=THRESHOLD), points()
    expected = load(bundle).score(x)
    for batch in (columns(x), {"image": x}):
        found = Scorer(bundle)(batch)
        assert list(found) == [*batch, "score", "anomalous"]
        assert np.array_equal(found["score"], expected) and np.array_equal(found["anomalous"], expected > 10)
        assert all(found[name] is batch[name] for name in batch)


def test_without_a_threshold_there_are_scores_alone(make_bundle):
    assert list(Scorer(make_bundle(levels=None))({"x": points()})) == ["x", "score"]


def test_columns_that_are_chosen(make_bundle):
    bundle, x, kind = make_bundle(levels=None, context={"classes": 3}), points(), np.arange(200) % 3
    scorer = Scorer(bundle, columns=["a", "b", "c", "d"], context_columns=["kind"])
    found = scorer({"kind": kind, "name": np.array(["x"] * 200), **columns(x)})
    assert np.array_equal(found["score"], load(bundle).score(x, kind))
    of_all_others = Scorer(bundle, context_columns=["kind"])({"kind": kind, **columns(x)})
    assert np.array_equal(of_all_others["score"], found["score"])


def test_a_column_of_lists_is_one_of_arrays(make_bundle):
    bundle, x = make_bundle(levels=None, context={"shape": [2]}), columns(points())
    context = np.random.default_rng(1).normal(size=(200, 2))
    scorer = Scorer(bundle, context_columns=["c2"])
    found = scorer(x | {"c2": pa.array(list(context))})
    assert np.array_equal(found["score"], load(bundle).score(points(), context))


def test_a_worker_gets_a_scorer_that_loads_the_bundle_there(make_bundle):
    scorer = Scorer(make_bundle(levels=None), ["x"], threads=2)
    again = pickle.loads(pickle.dumps(scorer))
    assert np.array_equal(again({"x": points()})["score"], scorer({"x": points()})["score"])


def test_integer_data_with_draws(make_bundle):
    bundle, x = make_bundle(), np.random.default_rng(0).integers(0, 17, (9, 1, 2, 2))
    assert np.array_equal(Scorer(bundle, draws=3, seed=4)({"x": x})["score"], load(bundle).score(x, None, 3, 4))


@pytest.mark.parametrize(
    ("options", "batch", "message"),
    [
        ({}, {"a": np.zeros(3)}, r"one column of arrays \[1, 2, 2\], or 4 of numbers, are wanted; got a \[3\]"),
        ({}, {}, "got none"),
        ({}, {"a": np.zeros(3), 0: np.zeros(2), "b": np.zeros(3), "c": np.zeros(3)}, "number of rows: 2, 3"),
        ({"columns": "abcd"}, {}, "columns must be a list of different names, got 'abcd'"),
        ({"columns": ["a", "a"]}, {}, r"columns must be a list of different names, got \['a', 'a'\]"),
        ({}, {"a": 1.0}, "one column of arrays"),
        ({"columns": ["z", "a", "y"]}, {"a": np.zeros(3)}, "the batch has no columns 'z', 'y'; it has a"),
        ({"columns": ["z"]}, {0: np.zeros(3)}, "the batch has no column 'z'; it has 0"),
        ({}, {"a": np.array(["2020"], "datetime64[Y]")}, "a must hold real numbers, got dtype datetime64"),
        ({}, {"x": pa.array([[1.0, 2.0], [3.0]])}, "x is not an array"),
        ({}, {"x": [[1.0, 2.0], [3.0]]}, "x is not an array"),
        ({}, {"x": np.ma.masked_array(points(2), points(2) > 8)}, "x is masked in places"),
        ({"columns": ["z"]}, {"a": np.zeros(3)}, "the batch has no column 'z'; it has a"),
        ({"context_columns": ["k"]}, {"k": np.zeros(1, int), "x": points(1)}, "takes no context"),
        ({}, {"x": np.full((2, 1, 2, 2), np.nan)}, "x must be finite in float32; in row 0"),
    ],
)
def test_batches_that_can_not_be_scored(make_bundle, options, batch, message):
    with pytest.raises(InputError, match=message):
        Scorer(make_bundle(levels=None), **options)(batch)


def test_frames_of_pandas_one_after_the_other(make_bundle):
    """As Spark's mapInPandas calls it."""
    pandas = pytest.importorskip("pandas")
    bundle, x = make_bundle(levels=None), points()

    def score(frames: Iterator[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
        scorer = Scorer(bundle)
        for frame in frames:
            yield pandas.DataFrame(scorer(dict(frame)))

    frame = pandas.DataFrame(columns(x))
    found = pandas.concat(score(iter([frame[:150], frame[150:]])))
    assert list(found) == ["a", "b", "c", "d", "score"]
    np.testing.assert_allclose(found["score"], load(bundle).score(x), rtol=1e-6)


def test_record_batches_of_arrow_one_after_the_other(make_bundle):
    """As Spark's mapInArrow calls it."""
    bundle, x = make_bundle(levels=None), points()

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = Scorer(bundle)
        for batch in batches:
            yield pa.RecordBatch.from_pydict(scorer(dict(zip(batch.schema.names, batch.columns, strict=True))))

    table = pa.table(columns(x))
    found = pa.Table.from_batches(score(iter(table.to_batches(max_chunksize=150))))
    assert found.column_names == ["a", "b", "c", "d", "score"]
    np.testing.assert_allclose(found["score"], load(bundle).score(x), rtol=1e-6)


@pytest.mark.slow
def test_spark(make_bundle, monkeypatch):
    """The function of docs/serving.md, in Spark's own workers. pyspark is installed by hand, and needs Java."""
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark: pip install pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt-get install default-jre-headless")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    bundle, x = str(make_bundle(levels=None, threshold=THRESHOLD)), points(1000)

    def score(frames):  # it travels to the workers by value, and may not refer to this module
        import pandas

        from flowkit_runtime.batch import Scorer

        scorer = Scorer(bundle, ["a", "b", "c", "d"])
        for frame in frames:
            yield pandas.DataFrame(scorer({name: frame[name].to_numpy() for name in frame}))

    spark = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        table = pa.table({"row": np.arange(1000), **columns(x)}).to_pandas()
        schema = "row long, a float, b float, c float, d float, score float, anomalous boolean"
        found = spark.createDataFrame(table).repartition(4).mapInPandas(score, schema).toPandas().sort_values("row")
    finally:
        spark.stop()
    np.testing.assert_allclose(found["score"], load(bundle).score(x), rtol=1e-6)
    assert np.array_equal(found["anomalous"], found["score"] > 10)
