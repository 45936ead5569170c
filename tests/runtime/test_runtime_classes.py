"""Classes in the runtime: by their names, marginal scores without one, and their posterior probabilities."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import flowkit_runtime
from flowkit_runtime.batch import Scorer
from flowkit_runtime.cli.main import app
from flowkit_runtime.errors import BundleError, InputError
from flowkit_runtime.streaming.part import Part

CONTEXT = {"classes": 3, "names": ["cat", "dog", "7"], "probabilities": [0.5, 0.0, 0.5]}
X = (8 + 4 * np.random.default_rng(0).normal(size=(20, 1, 2, 2))).clip(0, 16)

MakeBundle = Callable[..., Path]


def loaded(make_bundle: MakeBundle, levels: int | None = None, **context: Any) -> flowkit_runtime.model.Model:
    return flowkit_runtime.load(make_bundle(levels=levels, context={**CONTEXT, **context}))


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


# Names


def test_a_class_is_given_by_its_name_or_its_number(make_bundle: MakeBundle) -> None:
    model = loaded(make_bundle)
    numbers = np.array([0, 1, 2, 0] * 5)
    names = np.array(CONTEXT["names"])[numbers]
    for given in (names, names.astype(object), names.tolist()):
        assert np.array_equal(model.score(X, given), model.score(X, numbers))
        assert np.array_equal(model.sample(20, given, seed=0), model.sample(20, numbers, seed=0))
        assert np.array_equal(model.encode(X, given)[0], model.encode(X, numbers)[0])
    assert np.array_equal(model.sample((4, 2), ["cat", "7"], seed=0), model.sample((4, 2), [0, 2], seed=0))
    assert np.array_equal(model.score(X, "7"), model.score(X, 2))
    with pytest.raises(InputError, match="the context 'cow' is no class of this flow: its classes are cat, dog, 7"):
        model.score(X, ["cat", "cow"] * 10)


@pytest.mark.parametrize(
    ("context", "label", "says"),
    [
        ("cat", 0, ""),
        ("7", 2, ""),
        ("cow", None, "the context 'cow' is no class of this flow: its classes are cat, dog, 7"),
        ("1", None, "the context '1' is no class of this flow"),  # as names are numbers, this may be meant as one
    ],
)
def test_names_for_commands(make_bundle: MakeBundle, tmp_path: Path, context: str, label: int, says: str) -> None:
    bundle = make_bundle(levels=None, context=CONTEXT)
    arguments = ["sample", bundle, "-n", 5, "--context", context, "-o", tmp_path / "s.npy"]
    assert says in run(*arguments, code=2 if says else 0)
    if not says:
        expected = flowkit_runtime.load(bundle).sample(5, label, seed=0)
        assert np.array_equal(np.load(tmp_path / "s.npy"), expected)


def test_without_numbers_for_names_a_number_is_an_index(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(levels=None, context={"classes": 2, "names": ["cat", "dog"]})
    run("sample", bundle, "-n", 5, "--context", 1, "-o", tmp_path / "s.npy")
    assert np.array_equal(np.load(tmp_path / "s.npy"), flowkit_runtime.load(bundle).sample(5, "dog", seed=0))
    assert "the context '2' is no class" in run("sample", bundle, "--context", 2, "-o", tmp_path / "s.npy", code=2)


# Marginal scores and posteriors


def test_without_a_class_a_density_is_marginal(make_bundle: MakeBundle) -> None:
    model = loaded(make_bundle)
    classes = np.stack([model.log_prob(X, label) for label in range(3)], 1)
    expected = np.logaddexp(classes[:, 0], classes[:, 2]) - np.log(2)
    np.testing.assert_allclose(model.log_prob(X), expected, rtol=1e-6)
    np.testing.assert_allclose(model.score(X, batch_size=7), -expected, rtol=1e-6)
    posterior = model.posterior(X)
    np.testing.assert_allclose(posterior, np.exp(classes + np.log([0.5, 1e-300, 0.5]) - expected[:, None]), atol=1e-6)
    np.testing.assert_allclose(posterior.sum(1), 1)
    assert (posterior[:, 1] == 0).all()


@pytest.mark.parametrize("levels", [None, 17])
def test_marginal_scores_are_the_same_beside_the_posterior(make_bundle: MakeBundle, levels: int | None) -> None:
    model = loaded(make_bundle, levels)
    x = X if levels is None else X.round()
    assert np.array_equal(model.score(x, draws=2), model.marginal_score_and_posterior(x, draws=2)[0])


def test_integers_average_over_noise(make_bundle: MakeBundle) -> None:
    model = loaded(make_bundle, levels=17)
    x = X.round()
    one, two = (np.stack([model.score(x, label, draws, 3) for label in (0, 2)]) for draws in (1, 2))
    of_draws = [
        -np.log2(np.mean(2.0 ** (-4 * scores), 0)) / 4 for scores in (one, 2 * two - one)
    ]  # an event has 4 values
    np.testing.assert_allclose(model.score(x, draws=2, seed=3), np.mean(of_draws, 0), rtol=1e-5)
    posterior = model.posterior(x, draws=3, seed=3)
    np.testing.assert_allclose(posterior.sum(1), 1)
    parts = [model.posterior(x[start : start + 7], 3, 3, start=start) for start in range(0, 20, 7)]
    np.testing.assert_allclose(np.concatenate(parts), posterior, rtol=1e-5)


def test_without_probabilities_a_class_is_needed(make_bundle: MakeBundle) -> None:
    model = loaded(make_bundle, probabilities=[])
    with pytest.raises(InputError, match=r"this model needs a context: a class \(cat, dog, 7\) for each row"):
        model.score(X)
    with pytest.raises(BundleError, match="no probabilities of classes"):
        model.posterior(X)
    for call in (model.encode, lambda x: model.sample(3)):
        with pytest.raises(InputError, match="this model needs a context"):
            call(X)


def test_the_command_says_that_scores_are_marginal(make_bundle: MakeBundle, tmp_path: Path) -> None:
    threshold = {"score": 9.0, "quantile": 0.99, "events": 100}
    bundle = make_bundle(levels=None, context=CONTEXT, threshold=threshold)
    np.save(tmp_path / "x.npy", X)
    said = run("score", bundle, tmp_path / "x.npy", "--posterior", "-o", tmp_path / "s.csv")
    assert "no class is given: scores are marginal" in said and "the threshold isn't theirs" in said
    rows = list(csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text())))
    assert list(rows[0]) == ["score", "p(cat)", "p(dog)", "p(7)"]
    model = flowkit_runtime.load(bundle)
    found = np.array([[float(value) for value in row.values()] for row in rows])
    np.testing.assert_allclose(found, np.column_stack([model.score(X), model.posterior(X)]), rtol=1e-6, atol=1e-9)
    said = run("score", bundle, tmp_path / "x.npy", "--context", "cat", "--posterior", "-o", tmp_path / "s.parquet")
    assert "marginal" not in said and "above the threshold" in said
    said = run("score", bundle, tmp_path / "x.npy", "--posterior", code=2)
    assert "--posterior writes columns: name an output" in said
    scored = Scorer(bundle)({"x": X})
    np.testing.assert_allclose(scored["score"], found[:, 0], rtol=1e-6)


def test_posteriors_are_of_classes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    said = run("score", make_bundle(levels=None), tmp_path / "x.npy", "--posterior", "-o", tmp_path / "s.csv", code=2)
    assert "--posterior is for a flow whose context is a class" in said


def test_part_files_keep_whole_batches_of_rows(tmp_path: Path) -> None:
    rows = np.arange(24.0).reshape(8, 3)
    with (tmp_path / "part").open("w+b", buffering=0) as file:
        part = Part(file, ["a"], 2, width=3)
        part.append(rows[:5])
    with (tmp_path / "part").open("r+b", buffering=0) as file:
        part = Part(file, ["a"], 2, width=3)
        assert part.rows == 4
        part.append(rows[4:])
        assert np.array_equal(np.concatenate(list(part.row_blocks())), rows)
        assert np.array_equal(np.concatenate(list(part.blocks())), rows[:, 0])


# Damage


WRONG: dict[str, dict[str, Any]] = {
    "names are no list": {"names": "cat"},
    "a name is no text": {"names": ["cat", "dog", 7]},
    "an empty name": {"names": ["cat", "dog", ""]},
    "a name twice": {"names": ["cat", "dog", "cat"]},
    "too few names": {"names": ["cat", "dog"]},
    "probabilities are no list": {"probabilities": 1},
    "too few probabilities": {"probabilities": [0.5, 0.5]},
    "a sum of 2": {"probabilities": [1, 0.5, 0.5]},
    "a negative one": {"probabilities": [1.5, -0.5, 0]},
    "text": {"probabilities": ["1", 0, 0]},
    "a truth": {"probabilities": [True, 0, 0]},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_manifest_with_damaged_classes_is_refused(make_bundle: MakeBundle, case: str) -> None:
    with pytest.raises(BundleError, match=r"malformed: context\.(names|probabilities)"):
        loaded(make_bundle, **WRONG[case])


LABELLED: dict[str, Any] = {"event": [{"column": "x"}], "context": [], "missing": "drop", "label": "kind"}
DAMAGED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "a label that is no text": ({"label": ["kind"]}, CONTEXT, "preprocessing.label is"),
    "a label without classes": ({}, {"shape": [3]}, "needs a context of named classes"),
    "a label without names": ({}, {"classes": 3}, "needs a context of named classes"),
    "a label beside columns": ({"context": [{"column": "y"}]}, CONTEXT, "needs a context of named classes"),
    "a label that is a value": ({"label": "x"}, CONTEXT, "names a column twice"),
    "classes without a label": ({"label": ...}, CONTEXT, "makes events or contexts of another shape"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_label_is_refused(make_bundle: MakeBundle, case: str) -> None:
    change, context, message = DAMAGED[case]
    table = {name: value for name, value in {**LABELLED, **change}.items() if value is not ...}
    shapes = {"event": {"shape": [1], "levels": None}, "latents": [[1]], "bases": ["base/standard_normal"]}
    bundle = make_bundle(context={"classes": 3})
    manifest = json.loads((bundle / "manifest.json").read_text())
    fields = {**manifest, **shapes, "context": context, "preprocessing": table}
    (bundle / "manifest.json").write_bytes(flowkit_runtime.bundle.sealed(fields))
    with pytest.raises(BundleError, match=f"malformed: .*{message}"):
        flowkit_runtime.load(bundle)
