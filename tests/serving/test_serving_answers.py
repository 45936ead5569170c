"""What `flowkit-runtime serve` answers is what the runtime returns, in each form; what can't be used is a message."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from flowkit_runtime import Model, load
from flowkit_runtime.serving.answers import written
from flowkit_runtime.serving.bodies import CSV
from flowkit_runtime.serving.endpoints import Answer
from flowkit_runtime.serving.page import docs_page
from tests.runtime.conftest import write_bundle
from tests.security import bundles
from tests.serving.asking import JSON, NPY, NPZ, ask, npy, npz, serving

THRESHOLD = {"score": 2.5, "quantile": 0.99, "events": 100}
COLUMNS = {
    "event": [{"column": "area"}, {"column": "rooms", "kind": "integer"}],
    "context": [],
    "missing": "drop",
}
X = np.random.default_rng(0).integers(0, 17, (5, 1, 2, 2))
CONTEXT = np.linspace(-1, 1, 10).reshape(5, 2)


CLASSES = {"classes": 3, "names": ["Bonn", "Kiel", "Ulm"], "probabilities": [0.5, 0.3, 0.2]}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles: images with a threshold, floats with a context, a table, and a flow that runs forward only."""
    root = tmp_path_factory.mktemp("secret-place")
    images, floats, vectors, classes = (root / name for name in ("images", "floats", "vectors", "classes"))
    for directory in (images, floats, classes):
        directory.mkdir()
    write_bundle(images, threshold=THRESHOLD)
    write_bundle(floats, levels=None, context={"shape": [2]})
    write_bundle(classes, levels=None, context=CLASSES, threshold=THRESHOLD)
    bundles.write_bundle(vectors)
    table = bundles.write_bundle(root / "table")
    bundles.edit_manifest(table, lambda manifest: manifest.update(preprocessing=COLUMNS, threshold=THRESHOLD))
    forward = bundles.write_bundle(root / "forward")
    bundles.edit_manifest(forward, _forward_only)
    return {each.name: each for each in (images, floats, classes, vectors, table, forward)}


def _forward_only(manifest: dict[str, Any]) -> None:
    manifest["directions"] = "forward"
    del manifest["files"]["decode.onnx"]


@pytest.fixture(scope="module")
def app(places: dict[str, Path]) -> FastAPI:
    return serving(places, rows=100, body=2**16)


@pytest.fixture(scope="module")
def models(places: dict[str, Path]) -> dict[str, Model]:
    return {name: load(place) for name, place in places.items()}


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float), rtol=1e-6)


def test_scores_in_each_form(app, models):
    wanted = models["images"].score(X, draws=2, seed=3)
    by_json = ask(app, "/bundles/images/score", {"x": X.tolist(), "draws": 2, "seed": 3})
    assert by_json.headers["content-type"] == JSON
    same(by_json.json["score"], wanted)
    assert by_json.json["anomalous"] == models["images"].anomalous(wanted).tolist()
    by_npy = ask(app, "/bundles/images/score?draws=2&seed=3", npy(X), NPY, accept=NPY)
    np.testing.assert_array_equal(by_npy.npy, by_json.json["score"])
    by_npz = ask(app, "/bundles/images/score?draws=2&seed=3", npz(x=X), NPZ, accept=f"{NPZ}, */*;q=0.1").npy
    np.testing.assert_array_equal(by_npz["score"], by_npy.npy)
    assert by_npz["anomalous"].dtype == bool
    lines = list(csv.reader(io.StringIO(ask(app, "/bundles/images/score", npy(X), NPY, accept="text/*").body.decode())))
    assert lines[0] == ["score", "anomalous"] and lines[1][1] in "01" and len(lines) == 6


@pytest.mark.parametrize("context", [CONTEXT, CONTEXT[0]], ids=["for each", "for all"])
def test_contexts(app, models, context):
    model, x = models["floats"], X + 0.25
    given = {"x": x.tolist(), "context": context.tolist()}
    same(ask(app, "/bundles/floats/log_prob", given).json["log_prob"], model.log_prob(x, context))
    same(ask(app, "/bundles/floats/score", npz(x=x, context=context), NPZ, accept=NPY).npy, model.score(x, context))
    drawn = ask(app, "/bundles/floats/sample?n=5&seed=9&temperature=0.5", npz(context=context), NPZ, accept=NPY).npy
    same(drawn, model.sample(5, context, 0.5, 9))


def test_latents_there_and_back(app, models):
    latents = models["images"].encode(X)
    by_json = ask(app, "/bundles/images/encode", {"x": X.tolist()}).json
    for found, wanted in zip(by_json["latents"], latents, strict=True):
        same(found, wanted)
    assert ask(app, "/bundles/images/decode", by_json).json == {"x": X.tolist()}
    by_npz = ask(app, "/bundles/images/encode", npy(X), NPY, accept=NPZ)
    assert ask(app, "/bundles/images/decode", by_npz.body, NPZ, accept=NPY).npy.dtype == np.uint8
    assert ask(app, "/bundles/images/encode", npy(X), NPY, accept=NPY).status == 406


def test_samples(app, models):
    model = models["images"]
    assert ask(app, "/bundles/images/sample?n=7&seed=1").json == {"x": model.sample(7, seed=1).tolist()}
    same(ask(app, "/bundles/images/sample", {"n": [2, 3], "seed": 1}).json["x"], model.sample((2, 3), seed=1))
    assert ask(app, "/bundles/images/sample").json != ask(app, "/bundles/images/sample").json
    lines = ask(app, "/bundles/vectors/sample?n=2&seed=1", accept=CSV).body.decode().splitlines()
    assert lines[0] == "f0,f1" and len(lines) == 3
    assert ask(app, "/bundles/images/sample", accept=CSV).status == 406


ROWS = [{"area": 1.5, "rooms": 2}, {"area": 2, "rooms": None, "more": [1]}, {"rooms": 3, "area": -1e3}]


def test_tables(app, models):
    model = models["table"]
    columns = {"area": [1.5, 2.0, -1e3], "rooms": [2, None, 3]}
    wanted = model.score(*model.from_table(columns, 4))
    by_json = ask(app, "/bundles/table/score?seed=4", {"rows": ROWS}).json
    same([by_json["score"][0], by_json["score"][2]], wanted[[0, 2]])
    assert by_json["score"][1] is by_json["anomalous"][1] is None
    text = b"rooms,area,more\n2,1.5,x\n,2,y\n3,-1000,z\n"
    assert ask(app, "/bundles/table/score?seed=4", text, CSV).json == by_json
    answer = ask(app, "/bundles/table/score?seed=4", text, CSV, accept=CSV).body.decode().splitlines()
    assert answer[0] == "score,anomalous" and answer[2] == "," and answer[3].endswith(",1")
    drawn = ask(app, "/bundles/table/sample?n=3&seed=0").json["rows"]
    assert [list(row) for row in drawn] == 3 * [["area", "rooms"]] and isinstance(drawn[0]["rooms"], int)
    same([row["area"] for row in drawn], model.to_table(model.sample(3, seed=0))["area"])


def test_infinite_scores_beside_rows_without_one(models):
    scores = np.array([np.inf, np.nan, 1.5])
    answer = Answer("columns", {"score": scores, "anomalous": ~(scores <= 2)})
    by_json = json.loads(written(answer, JSON, models["table"]))
    assert by_json == {"score": [None, None, 1.5], "anomalous": [True, None, False]}
    assert written(answer, CSV, models["table"]) == b"score,anomalous\ninf,1\n,\n1.5,0\n"


def as_csv(x: Any) -> bytes:
    return "\n".join(["a,b,c,d", *(",".join(map(str, row)) for row in x.reshape(len(x), -1).tolist())]).encode()


def test_whole_numbers_are_integers_in_every_form(app, models):
    wanted = np.concatenate([each.ravel() for each in models["images"].encode(X)])
    for body, form in ((X.tolist(), JSON), ((X * 1.0).tolist(), JSON), (as_csv(X), CSV), (as_csv(X * 1.0), CSV)):
        body = {"x": body} if form == JSON else body
        latents = ask(app, "/bundles/images/encode", body, form).json["latents"]
        same(np.concatenate([np.ravel(each) for each in latents]), wanted)
        assert "integer data has no density" in ask(app, "/bundles/images/log_prob", body, form).json["detail"]


def test_points_in_every_form(app, models):
    x = X + 0.25
    wanted = models["images"].log_prob(x)
    for body, form in (({"x": x.tolist()}, JSON), (as_csv(x), CSV), (npy(x), NPY)):
        same(ask(app, "/bundles/images/log_prob", body, form).json["log_prob"], wanted)


def test_a_class_in_the_query_is_a_name_first(tmp_path):
    """As for the option --context. In a body a number is an index."""
    model = load(write_bundle(tmp_path, levels=None, context={"classes": 3, "names": ["1", "2", "3"]}))
    app, body = serving({"named": tmp_path}), npy(X + 0.5)
    for context, label in (("1", 0), ("3", 2), ("[1]", 1), ('"1"', 0), ('["2"]', 1)):
        answer = ask(app, f"/bundles/named/score?context={context}", body, NPY)
        same(answer.json["score"], model.score(X + 0.5, label))
    assert "'0' is no class" in ask(app, "/bundles/named/score?context=0", body, NPY).json["detail"]
    for given, label in (("1", 0), (1, 1)):
        drawn = ask(app, "/bundles/named/sample", {"seed": 0, "context": given}).json["x"]
        same(drawn, model.sample(1, label, seed=0))


@pytest.mark.parametrize(
    "given",
    [
        {"x": ["a" * 8000, *(2000 * [0])]},
        {"x": [["a" * 8000, 0], *(1000 * [[0, 0]])]},
        {"latents": [["a" * 8000, *(2000 * [0])]]},
        {"x": [[[[1, 2], [3, 4]]]], "context": ["a" * 8000, *(2000 * [0])]},
    ],
)
def test_texts_among_numbers_take_no_memory(app, given):
    path = "/bundles/vectors/decode" if "latents" in given else "/bundles/floats/score"
    tracemalloc.start()
    try:
        for bundle in (path, path.replace("floats", "classes")):
            assert ask(app, bundle, given).status == 422
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_columns_of_other_flows(app, models):
    x, context = X.reshape(5, 4) + 0.5, CONTEXT
    table = np.concatenate([x, context], 1).tolist()
    text = "\n".join(["a,b,c,d,u,v", *(",".join(map(str, row)) for row in table)]).encode()
    found = ask(app, "/bundles/floats/score?context_columns=u,v&columns=a,b,c,d", text, CSV).json["score"]
    same(found, models["floats"].score(x.reshape(5, 1, 2, 2), context))
    one = "\n".join(["a,b,c,d", *(",".join(map(str, row[:4])) for row in table)]).encode()
    found = ask(app, "/bundles/floats/score?context=[0.5,1]", one, CSV).json["score"]
    same(found, models["floats"].score(x.reshape(5, 1, 2, 2), [0.5, 1]))


def test_classes_by_index_by_name_and_summed_over(app, models):
    model, x = models["classes"], X + 0.5
    path = "/bundles/classes/score"
    given = [1, 2, 0, 1, 1]
    by_index = ask(app, path, {"x": x.tolist(), "context": given}).json
    same(by_index["score"], model.score(x, given))
    by_name = ask(app, path, {"x": x.tolist(), "context": [CLASSES["names"][c] for c in given]}).json
    assert by_name == by_index and "anomalous" in by_name
    same(ask(app, f"{path}?context=Ulm", npy(x), NPY, accept=NPY).npy, model.score(x, 2))
    marginal = ask(app, path, npy(x), NPY).json
    same(marginal["score"], model.score(x))
    assert list(marginal) == ["score"]  # the threshold is one given the class
    reply = ask(app, path, npy(np.zeros((34, 1, 2, 2))), NPY)
    assert (reply.status, reply.json["detail"][:33]) == (422, "there are 34 rows without a class")
    assert "no class of this flow: its classes are Bonn" in ask(app, f"{path}?context=Rom", npy(x), NPY).json["detail"]
    assert ask(app, "/bundles/classes", method="GET").json["context"]["names"] == CLASSES["names"]


IMAGES, TABLE, DRAWN = "/bundles/images/score", "/bundles/table/score", "/bundles/images/sample"
MOST = "that this server takes at once is"
DEEP = b'{"x": ' + 16_000 * b"["
REFUSED = {
    "no json": (IMAGES, b"{", JSON, 422, "can't be read as application/json"),
    "deep": (IMAGES, DEEP, JSON, 422, "nested too deep"),
    "NaN": (IMAGES, b'{"x": [NaN]}', JSON, 422, "not a finite number"),
    "huge number": (IMAGES, b'{"x": ' + 5000 * b"9" + b"}", JSON, 422, "a whole number of more than 4,300 digits"),
    "list": (IMAGES, [1], JSON, 422, "JSON object of named values is wanted, got list"),
    "text": (IMAGES, {"x": "abc"}, JSON, 422, "x must hold real numbers"),
    "ragged": (IMAGES, {"x": [[1], [2, 3]]}, JSON, 422, "x is not an array"),
    "shape": (IMAGES, {"x": [1, 2]}, JSON, 422, "x must have shape [n, 1, 2, 2], got [2]"),
    "value": (IMAGES, npy(X + 0.5), NPY, 422, "whole numbers from 0 to 16; in row 0, x[0, 0, 0, 0] is"),
    "no events": (IMAGES, {}, JSON, 422, "give events: x, an array"),
    "empty body": (IMAGES, b"", JSON, 422, "give events"),
    "records": (IMAGES, {"rows": ROWS}, JSON, 422, "no parameter 'rows' here; there are x, draws, seed"),
    "unknown": (IMAGES, {"x": X.tolist(), "sed": 1}, JSON, 422, "no parameter 'sed' here"),
    "twice": (IMAGES + "?seed=1", {"x": X.tolist(), "seed": 1}, JSON, 422, "'seed' is in the body and in the query"),
    "query": (IMAGES + "?seed=one", npy(X), NPY, 422, "seed=one in the query is no number"),
    "query twice": (IMAGES + "?seed=1&seed=2", npy(X), NPY, 422, "the query has 'seed' twice"),
    "seed": (IMAGES + "?seed=-1", npy(X), NPY, 422, "seed must be from 0 to 18446744073709551615, got -1"),
    "draws": (IMAGES + "?draws=1.5", npy(X), NPY, 422, "draws must be an integer, got 1.5"),
    "many draws": (IMAGES + "?draws=21", npy(X), NPY, 422, f"there are 5 rows; the most {MOST} 4"),
    "many rows": (IMAGES, npy(np.zeros((101, 1, 2, 2), int)), NPY, 422, "there are 101 rows; the most"),
    "columns": (IMAGES + "?columns=a", npy(X), NPY, 422, "columns chooses among those of a text/csv body"),
    "pickle": (IMAGES, npy(np.array([None])), NPY, 422, "Python objects or records"),
    "short": (IMAGES, npy(X)[:-1], NPY, 422, "it is truncated or damaged"),
    "announced": (IMAGES, npy(X).replace(b"(5, 1", b"(9, 1"), NPY, 422, "its header announces 288 bytes"),
    "no npz": (IMAGES, npy(X), NPZ, 422, "it is not an .npz file"),
    "other array": (IMAGES, npz(x=X, y=X), NPZ, 422, "it holds 'y'; its arrays may be x"),
    "log_prob": ("/bundles/images/log_prob", npy(X), NPY, 422, "integer data has no density at a point: use .score(x)"),
    "context": ("/bundles/floats/score", npy(X), NPY, 422, "this model needs a context: floats [2] for each row"),
    "text as context": ("/bundles/floats/sample?context=oak", b"", JSON, 422, "numbers, floats [2], and holds text"),
    "no context": (IMAGES + "?context=1", npy(X), NPY, 422, "no parameter 'context' here"),
    "no table": (IMAGES, {"table": "a"}, JSON, 422, "no parameter 'table' here"),
    "n": (DRAWN + "?n=-1", b"", JSON, 422, "n must be at least 0, got -1"),
    "many": (DRAWN + "?n=101", b"", JSON, 422, "there are 101 samples; the most"),
    "sizes": (DRAWN + "?n=[101,2]", b"", JSON, 422, "there are 202 samples; the most"),
    "long sizes": (DRAWN, {"n": 2 * [10**4000]}, JSON, 422, "more events than one array can hold"),
    "sizes of sizes": (DRAWN, {"n": 99 * [1]}, JSON, 422, "n has 99 sizes; the most is 16"),
    "a null": ("/bundles/vectors/score", {"x": [[0, None]]}, JSON, 422, "x must hold numbers, and holds null"),
    "latent of none": ("/bundles/vectors/decode", npy(1), NPY, 422, "z_1 must have shape [n, 2], got []"),
    "many latents": ("/bundles/vectors/decode", npy(np.zeros((101, 2))), NPY, 422, "there are 101 rows"),
    "no latents": ("/bundles/vectors/decode", {"latents": 1}, JSON, 422, "latents must be a list of the arrays z_1"),
    "hot": (DRAWN + "?temperature=-1", b"", JSON, 422, "temperature must be a finite number of at least 0"),
    "latents": ("/bundles/images/decode", {"latents": [[1]]}, JSON, 422, "latents must be a list of the arrays z_1"),
    "one latent": ("/bundles/images/decode", npy(X), NPY, 422, "there is no z_2: give latents"),
    "no column": (TABLE, {"rows": [{"Area": 1}]}, JSON, 422, "no columns 'area' (did you mean 'Area'?), 'rooms'"),
    "no records": (TABLE, {"rows": [1]}, JSON, 422, "rows must be a list of objects"),
    "no number": (TABLE, {"rows": [{"area": "big", "rooms": 1}]}, JSON, 422, "column 'area' holds string"),
    "csv": (TABLE, b"area,rooms\n1,x\n", CSV, 422, "read as CSV: column 'rooms' of row 0"),
    "empty csv": ("/bundles/vectors/score", b"\n", CSV, 422, "the body can't be read as CSV: it is empty"),
    "csv choice": ("/bundles/vectors/score", b"a,b,c\n1,2,3\n", CSV, 422, "(a, b, c); choose with columns a,b,…"),
    "csv columns": (TABLE, b"area\n1\n", CSV, 422, "the body has no column 'rooms'; its columns"),
    "no rows": (TABLE, b"area,rooms\n", CSV, 422, "the body has no rows"),
    "wide": ("/bundles/vectors/score", 65_536 * b",", CSV, 422, "the body has over 65536 columns"),
    "large": (IMAGES, 65_537 * b" ", NPY, 413, "the body is larger than 65536 bytes"),
    "large json": (IMAGES, 16_385 * b" ", JSON, 413, "the body is larger than 16384 bytes: send fewer rows"),
    "form": (IMAGES, b"x=1", "application/x-www-form-urlencoded", 415, "the Content-Type is application/x-www-form-ur"),
    "csv of images": (DRAWN, b"x", CSV, 415, "a body is application/json"),
    "bundle": ("/bundles/other/score", b"", JSON, 404, "the bundles are images, floats, classes, vectors, table"),
    "direction": ("/bundles/forward/sample", b"", JSON, 404, "there is nothing here"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body", "form", "status", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(app, path, body, form, status, message):
    reply = ask(app, path, body, form)
    assert (reply.status, reply.headers["content-type"]) == (status, JSON)
    assert message in reply.json["detail"]
    assert "secret-place" not in reply.json["detail"] and "flowkit-" not in reply.json["detail"].replace(
        "flowkit-runtime", ""
    )


def test_forms_of_answers(app):
    def status(accept: str) -> int:
        return ask(app, DRAWN, accept=accept).status

    assert [status(text) for text in ("application/*", "a/b;q=0.9, */*;q=0.1", "a/b, application/json")] == 3 * [200]
    assert [status(text) for text in ("text/html", "application/json;q=0", "application/json;q=x", ",")] == 4 * [406]
    assert ask(app, IMAGES, npy(X), NPY, content_encoding="gzip").status == 415
    got = ask(app, IMAGES, method="GET")
    assert (got.status, got.json["detail"]) == (405, "use POST here")
    got = ask(app, "/bundles/vectors/score", content_type=CSV)
    assert (got.status, got.json["detail"]) == (422, "the body can't be read as CSV: it is empty")


def test_what_a_bundle_is(app, models):
    about = ask(app, "/bundles/images", method="GET").json
    assert about["event"] == {"shape": [1, 2, 2], "levels": 17, "domain": None} and about["threshold"] == THRESHOLD
    assert about["endpoints"]["encode"] == "/bundles/images/encode"
    assert "sample" not in ask(app, "/bundles/forward", method="GET").json["endpoints"]
    assert ask(app, "/bundles/table", method="GET").json["columns"]["event"][0] == {"column": "area"}
    assert list(ask(app, "/bundles", method="GET").json["bundles"]) == list(models)


def test_the_page_of_addresses_loads_nothing(app):
    reply = ask(app, "/docs", method="GET")
    page = reply.body.decode()
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "<code>POST /bundles/floats/score</code>" in page and "<code>GET /health/ready</code>" in page
    assert "<code>temperature</code><td>Scales the noise" in page
    assert not re.search(r"https?:|<script|<link|src=", page)
    assert re.findall(r'href="([^"]*)"', page) == ["openapi.json"]


def test_what_a_page_shows_is_escaped():
    described = {"summary": "<b>", "parameters": [{"name": "n", "description": "a < b"}]}
    page = docs_page({"info": {"title": "&"}, "paths": {"/<i>": {"get": described}}})
    assert "<b>" not in page and "<i>" not in page and "a &lt; b" in page


def test_what_the_server_is(app):
    assert ask(app, "/health/live", method="GET").json == {"status": "live"}
    assert ask(app, "/health/ready", method="GET").json == {"status": "ready"}
    paths = ask(app, "/openapi.json", method="GET").json["paths"]
    body = paths["/bundles/floats/score"]["post"]["requestBody"]["content"][JSON]["schema"]["properties"]
    assert body["x"]["items"]["items"]["items"]["items"] == {"type": "number"} and "context" in body
    assert "/bundles/forward/sample" not in paths
    assert [ask(app, IMAGES, {"x": x}).status for x in (X.tolist(), "none")] == [200, 422]  # whatever ran before
    text = ask(app, "/metrics", method="GET").body.decode()
    assert 'flowkit_requests_total{bundle="images",endpoint="score",status="422"}' in text
    assert 'flowkit_batch_rows_sum{bundle="images",graph="encode"}' in text
