"""Labels and weights of a table: classes by name, from the file to the bundle and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import flowkit
import flowkit_runtime
from flowkit.cli.main import app
from flowkit.errors import DataError, FlowkitError, SpecError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Spec, read_spec
from flowkit.starting import look, starting_spec
from flowkit.starting.table import TableLook
from flowkit.train import load_data, read_results
from flowkit.train.pictures import draw_samples
from flowkit_runtime.cli.main import app as runtime_app
from flowkit_runtime.errors import InputError

N = 240
NAMES = ("Adelie", "Chinstrap", "Gentoo")


def frame() -> pd.DataFrame:
    """Measures of birds of three species. Row 5 has no species."""
    random = np.random.default_rng(0)
    species = random.integers(0, 3, N)
    table = pd.DataFrame(random.normal(size=(N, 2)) + 3 * species[:, None], columns=["bill", "flipper"]).round(4)
    table["species"] = np.array(NAMES)[species]
    table["sample_weight"] = 1.0 + (species == 2)
    return table


def spec_of(file: Path, classes: int = 3, **data: Any) -> Spec:
    listed = {"use": "data/table", "path": str(file), "event": [{"column": "bill"}, {"column": "flipper"}]}
    spec = {
        "flowkit": 1,
        "event": {"shape": [2]},
        "context": {"classes": classes},
        "flow": [{"use": "glow/actnorm"}, {"use": "glow/conv1x1"}],
        "base": {"use": "base/class_conditional_normal"},
        "data": {**listed, "label": "species", "weight": "sample_weight", **data},
        "train": {"epochs": 30, "batch_size": 32, "optimizer": {"lr": 0.03}, "ema": None},
    }
    return read_spec(spec)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with birds.csv, a run and its bundle."""
    place = tmp_path_factory.mktemp("birds")
    frame().to_csv(place / "birds.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        for draw in ("draw_loss", "draw_samples"):
            patch.setattr(f"flowkit.train.pictures.{draw}", lambda *_: None)
        flowkit.train.train(spec_of(place / "birds.csv"), place / "run")
    run(["export", place / "run", "-o", place / "bundle"])
    yield place


def run(arguments: list[object], code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


# Training


def loaded(file: Path, table: pd.DataFrame, classes: int = 3, **data: Any) -> dict[Any, Arrays]:
    table.to_csv(file, index=False)
    return load_data(spec_of(file, classes, **data))


def test_labels_number_the_classes_in_order(tmp_path: Path) -> None:
    data = loaded(tmp_path / "x.csv", frame())
    assert {part.classes for part in data.values()} == {NAMES}
    bills = frame()["bill"].to_numpy()
    for part in data.values():
        assert part.context is not None and part.context.dtype == np.int64
        rows = [int(np.abs(bills - value).argmin()) for value in part.x[:][:, 0]]
        assert [NAMES[label] for label in part.context] == frame()["species"][rows].tolist()


ALIKE: dict[str, tuple[Any, tuple[str, ...]]] = {
    "numbers in numerical order": ([10, 9, 1], ("1", "9", "10")),
    "numbers with points": ([2.0, 1.0, 0.0], ("0", "1", "2")),
    "truths": ([True, False, True], ("false", "true")),
}


@pytest.mark.parametrize("case", ALIKE)
def test_names_of_other_labels(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = ALIKE[case]
    monkeypatch.setattr("flowkit_runtime.streaming.table_sources.VALUES", 60)  # several parts of the file
    table = frame()
    table["species"] = [values[i % 3] for i in range(N)]
    data = loaded(tmp_path / "x.csv", table, len(names))
    assert data["train"].classes == names
    table.to_parquet(tmp_path / "x.parquet")
    of_parquet = load_data(spec_of(tmp_path / "x.parquet", len(names)))["train"]
    assert of_parquet.classes == names and np.array_equal(of_parquet.context, data["train"].context)  # type: ignore[arg-type]


def missing(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[7, "species"] = None
    return table


def test_rows_without_a_label_are_dropped_or_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no value in column 'species' of row 7"):
        loaded(tmp_path / "x.csv", missing(frame()))
    data = loaded(tmp_path / "x.csv", missing(frame()), missing="drop")
    assert sum(len(part.x) for part in data.values()) == N - 1


def test_lists_are_no_labels(tmp_path: Path) -> None:
    frame().assign(species=[[1]] * N).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"data/table: column 'species' holds list<.*>, which isn't text"):
        load_data(spec_of(tmp_path / "x.parquet"))


def test_files_of_parts_have_the_classes_of_the_main_one(tmp_path: Path) -> None:
    table = frame()
    table[table["species"] != "Adelie"].to_csv(tmp_path / "t.csv", index=False)
    data = loaded(tmp_path / "x.csv", table, test=str(tmp_path / "t.csv"))
    assert set(data["test"].context.tolist()) == {1, 2}  # type: ignore[union-attr]
    table.loc[4, "species"] = "Emperor"
    table.to_csv(tmp_path / "t.csv", index=False)
    message = (
        r"t.csv: column 'species' has 'Emperor' in row 4; its categories are Adelie, .* \(rows count from 0; below"
    )
    with pytest.raises(DataError, match=message):
        load_data(spec_of(tmp_path / "x.csv", test=str(tmp_path / "t.csv")))


def test_the_number_of_classes_is_that_of_the_spec(tmp_path: Path) -> None:
    message = r"there are 3 classes \(Adelie, Chinstrap, Gentoo\), and .* has 4: write context: {classes: 3}"
    with pytest.raises(DataError, match=message):
        loaded(tmp_path / "x.csv", frame(), 4)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "columns beside it": ({"context": [{"column": "sample_weight"}], "weight": None}, "label: takes the place of cont"),
    "a value, too": ({"label": "bill"}, "names the column 'bill' twice"),
    "a weight, too": ({"label": "sample_weight"}, "names the column 'sample_weight' twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_specs_are_refused(case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(SpecError, match=message.replace("label: ", "")):
        spec_of(Path("x.csv"), **data)


def test_a_label_needs_a_context_of_classes() -> None:
    spec = spec_of(Path("x.csv")).model_dump(mode="json") | {"context": None, "base": {"use": "base/standard_normal"}}
    with pytest.raises(SpecError, match=r"data.label: its columns make context.classes: k, and the spec has no"):
        read_spec(spec)


# Serving


@pytest.mark.slow
def test_a_run_knows_the_weighted_shares(place: Path) -> None:
    data = load_data(spec_of(place / "birds.csv"))["train"]
    labels, weights = data.context[:], data.weights  # type: ignore[index]
    shares = np.bincount(labels, weights) / weights.sum()  # type: ignore[union-attr]
    assert read_results(place / "run").classes == pytest.approx(dict(zip(NAMES, shares, strict=True)))
    context = json.loads((place / "bundle/manifest.json").read_text())["context"]
    assert context["names"] == list(NAMES) and context["probabilities"] == pytest.approx(shares)


@pytest.mark.slow
def test_the_training_file_and_one_without_labels_are_scored(place: Path) -> None:
    model = flowkit_runtime.load(place / "bundle")
    given = model.score(*model.from_table(frame()))
    assert "marginal" not in run(["score", place / "bundle", place / "birds.csv", "-o", place / "s.npy"])
    np.testing.assert_allclose(np.load(place / "s.npy"), given, rtol=1e-6)
    unlabelled = frame()[["flipper", "bill"]]
    unlabelled.to_csv(place / "unlabelled.csv", index=False)
    said = run(["score", place / "bundle", place / "unlabelled.csv", "--posterior", "-o", place / "m.csv"])
    assert "no class is given: scores are marginal, -log of the sum over 3 classes" in said
    found = pd.read_csv(place / "m.csv")
    x, context = model.from_table(unlabelled)
    assert context is None and list(found) == ["score", *(f"p({name})" for name in NAMES)]
    np.testing.assert_allclose(found["score"], model.score(x), rtol=1e-6)
    guessed = found.iloc[:, 1:].to_numpy().argmax(1)
    assert (np.array(NAMES)[guessed] == frame()["species"]).mean() > 0.9
    run(["score", place / "bundle", place / "unlabelled.csv", "--context", "Gentoo", "-o", place / "g.npy"])
    np.testing.assert_allclose(np.load(place / "g.npy"), model.score(x, "Gentoo"), rtol=1e-6)


@pytest.mark.slow
def test_pictures_of_a_run_have_the_names_of_classes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legends: list[list[str]] = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *_, **__: legends.append([t.get_text() for t in self.legends[0].get_texts()])
    )
    run(["sample", place / "run", "-n", 50, "-o", place / "s.png"])
    flow = Flow.load(place / "run")
    draw_samples(flow, load_data(spec_of(place / "birds.csv"))["val"], 64, place / "d.png")
    assert legends == [list(NAMES)] * 2


def test_samples_of_a_name_and_of_a_table_of_names(place: Path) -> None:
    run(["sample", place / "run", "--context", "Gentoo", "-n", 50, "-o", place / "g.npy"])
    run(["sample", place / "run", "--context", "2", "-n", 50, "-o", place / "n.npy"])
    assert np.array_equal(np.load(place / "g.npy"), np.load(place / "n.npy")) and np.load(place / "g.npy").mean() > 4
    said = run(["sample", place / "run", "--context", "Emperor", "-o", place / "g.npy"], code=2)
    assert "the context 'Emperor' is no class of this flow: its classes are Adelie, Chinstrap, Gentoo" in said
    (place / "c.csv").write_text("species\nGentoo\nAdelie\n")
    arguments = ["sample", place / "bundle", "--context", place / "c.csv", "-n", 2, "-o", place / "drawn.csv"]
    result = CliRunner().invoke(runtime_app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    drawn = pd.read_csv(place / "drawn.csv")
    assert list(drawn) == ["species", "bill", "flipper"]
    assert (
        drawn["species"].tolist() == ["Gentoo"] * 2 + ["Adelie"] * 2
        and (drawn["bill"][:2].min() > drawn["bill"][2:]).all()
    )


@pytest.mark.slow
def test_errors_of_labels_name_the_row(place: Path) -> None:
    table = frame()
    table.loc[9, "species"] = "Emperor"
    model = flowkit_runtime.load(place / "bundle")
    with pytest.raises(InputError, match="column 'species' has 'Emperor' in row 9; its categories are Adelie, Chin"):
        model.from_table(table)
    table.to_csv(place / "wrong.csv", index=False)
    assert "'Emperor' in row 9" in run(["score", place / "bundle", place / "wrong.csv"], code=2)


# Starting


def started(path: Path, table: pd.DataFrame, **roles: Any) -> tuple[TableLook, str]:
    table.to_csv(path, index=False)
    found = look(str(path), **roles)
    assert isinstance(found, TableLook)
    text = starting_spec(found)
    read_spec(text)
    return found, text


def test_names_make_roles_plain(tmp_path: Path) -> None:
    found, text = started(tmp_path / "x.csv", frame())
    assert "context: {classes: 3}" in text and "label: species" in text and "weight: sample_weight" in text
    assert "3 classes: Adelie, Chinstrap, Gentoo" in text
    assert any(each.startswith("column sample_weight weights the rows, by its name") for each in found.doubts)


def numbered(**columns: Any) -> pd.DataFrame:
    return frame()[["bill", "flipper"]].assign(
        **{name: values * (N // len(values)) for name, values in columns.items()}
    )


PLAIN: dict[str, tuple[pd.DataFrame, dict[str, Any], str | None, str | None]] = {
    "turned off": (frame(), {"label": "", "weight": ""}, None, None),
    "columns are named": (frame(), {"event": "bill"}, None, None),
    "roles are named": (frame(), {"event": "bill", "label": "species", "weight": "flipper"}, "species", None),
    "a class by numbers": (numbered(target=[0, 1, 1]), {}, "target", None),
    "a target of many numbers": (numbered(target=list(range(60))), {}, None, None),
    "a class beside other categories": (numbered(**{"class": ["a", "b"], "sex": ["f", "m", "f"]}), {}, None, None),
    "a measured weight": (numbered(weight=[50.5, 80.1, 77.0]), {}, None, None),
    "a normalized weight": (numbered(weight=[0.5, 1.5]), {}, None, "weight"),
    "weights": (numbered(Weights=[1.0, 5.0]), {}, None, "Weights"),
    "negative weights": (numbered(weights=[1.0, -5.0]), {}, None, None),
    "another name": (numbered(kind=["a", "b"]), {}, None, None),
}


@pytest.mark.parametrize("case", [case for case in PLAIN if case != "roles are named"])
def test_which_roles_are_proposed(tmp_path: Path, case: str) -> None:
    table, roles, label, weight = PLAIN[case]
    found, _ = started(tmp_path / "x.csv", table, **roles)
    names = [each and each.name for each in (found.label, found.weight)]
    assert names == [label, weight]
    assert case != "a measured weight" or any("if it is the weight of a row, name it" in each for each in found.doubts)


NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": ({"label": "genus"}, "has no column 'genus'"),
    "a label and a context": ({"label": "species", "context": "flipper"}, "the context is a class or other columns"),
    "a label of many values": ({"label": "bill"}, "column 'bill' can't be the label: it has more than 100 different"),
    "a weight of text": ({"weight": "species"}, "column 'species' can't be the weight: it holds no numbers"),
    "a negative weight": ({"weight": "bill"}, "column 'bill' can't be the weight: its values are -"),
    "one column for both": ({"weight": "species", "label": "species"}, "column 'species' is named twice"),
}


@pytest.mark.parametrize("case", NAMED)
def test_roles_that_do_not_fit(tmp_path: Path, case: str) -> None:
    roles, message = NAMED[case]
    with pytest.raises(DataError, match=message):
        started(tmp_path / "x.csv", frame(), **roles)


def test_roles_are_for_tables(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    with pytest.raises(DataError, match="--label names columns of a table"):
        look(str(tmp_path / "x.npy"), label="a")


# In Python


@pytest.fixture(scope="module")
def fitted() -> Any:
    spec = spec_of(Path("unused.csv"))
    return flowkit.fit(frame(), spec=spec, epochs=40, progress=False)


@pytest.mark.slow
def test_fit_takes_a_label(fitted: Any, tmp_path: Path) -> None:
    assert list(fitted.classes) == list(NAMES) and sum(fitted.classes.values()) == pytest.approx(1)
    table, unlabelled = frame(), frame()[["bill", "flipper"]]
    by_class = np.stack([fitted.log_prob(unlabelled.assign(species=name)) for name in NAMES], 1)
    marginal = np.logaddexp.reduce(by_class + np.log(list(fitted.classes.values())), axis=1)
    np.testing.assert_allclose(fitted.log_prob(unlabelled), marginal, rtol=1e-5)
    np.testing.assert_allclose(fitted.score(unlabelled.to_numpy(dtype="float32")), -marginal, rtol=1e-5)
    posterior = fitted.posterior(table)
    np.testing.assert_allclose(posterior.sum(1), 1, rtol=1e-5)
    assert (np.array(NAMES)[posterior.argmax(1)] == table["species"]).mean() > 0.9
    drawn = fitted.sample(3, ["Gentoo", "Adelie"])
    assert drawn["species"].tolist() == ["Gentoo"] * 3 + ["Adelie"] * 3 and len(fitted.sample(4, "Adelie")) == 4
    model = flowkit_runtime.load(fitted.export(tmp_path / "bundle"))
    np.testing.assert_allclose(model.posterior(model.from_table(unlabelled)[0]), posterior, atol=1e-4)


def test_scores_take_classes_as_a_table_has_them() -> None:
    fitted = flowkit.fit(frame()[["bill", "flipper", "species"]], epochs=1, progress=False)
    table = frame()[:4]
    unlabelled = table[["bill", "flipper"]]
    gentoo = fitted.score(unlabelled.assign(species="Gentoo"))
    assert not np.allclose(gentoo, fitted.score(unlabelled))
    for context in ("Gentoo", ["Gentoo"], ("Gentoo",), ["Gentoo"] * 4):
        assert np.array_equal(fitted.score(unlabelled, context), gentoo)
        assert np.array_equal(fitted.log_prob(unlabelled, context), -gentoo)
    assert np.array_equal(fitted.score(unlabelled, table["species"].tolist()), fitted.score(table))
    assert fitted.score(unlabelled[:0], "Gentoo").shape == (0,) and not len(fitted.sample(2, []))
    refused: list[tuple[Any, str]] = [
        (["species"], "column 'species' has 'species' in row 0; its categories are Adelie"),
        (["Gentoo", "Adelie"], "column 'species' has 2 rows, and column 'bill' has 4"),
        (np.array([0, 1, 0, 1]), "a table with the column species, a class, or a list of classes"),
        (None, "a table with the column species"),
    ]
    for context, message in refused:
        with pytest.raises(FlowkitError, match=message):
            fitted.sample(2) if context is None else fitted.score(unlabelled, context)


def test_a_number_is_the_class_that_the_column_has() -> None:
    table = frame().drop(columns="sample_weight")
    years = table.assign(species=table["species"].map(NAMES.index) + 2007)
    fitted = flowkit.fit(years, label="species", epochs=1, progress=False)
    assert list(fitted.classes or ()) == ["2007", "2008", "2009"]
    drawn = fitted.sample(2, pd.DataFrame({"species": [2008]}), seed=0)
    for context in (2008, [2008], np.int64(2008)):
        assert fitted.sample(2, context, seed=0).equals(drawn)
        years["species"] = 2008
        assert np.array_equal(fitted.score(years[["bill", "flipper"]], context), fitted.score(years))


def test_fit_takes_names_as_contexts() -> None:
    table = frame()
    x = table[["bill", "flipper"]].to_numpy()
    fitted = flowkit.fit(x, table["species"], epochs=1, progress=False)
    assert fitted.classes is not None and list(fitted.classes) == list(NAMES)
    numbers = table["species"].map(NAMES.index).to_numpy()
    assert np.array_equal(fitted.score(x, table["species"].tolist()), fitted.score(x, numbers))
    assert np.array_equal(fitted.sample(3, "Gentoo", seed=0), fitted.sample(3, 2, seed=0))
    with pytest.raises(
        FlowkitError, match="the context 'Emperor' is no class of this flow: its classes are Adelie, Chin"
    ):
        fitted.sample(3, "Emperor")
    some = table["species"] != "Adelie"
    held_out = (x[some], table["species"][some])
    assert list(flowkit.fit(x, table["species"], validation=held_out, epochs=1, progress=False).classes or ()) == [
        *NAMES
    ]


@pytest.mark.slow
def test_integers_in_python(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 100)
    x = (random.integers(0, 3, (100, 2)) + labels[:, None]).astype(np.uint8)
    flow = [{"use": "glow/rescale"}, {"use": "glow/conv1x1"}]
    spec = {"flowkit": 1, "event": {"shape": [2], "levels": 4}, "context": {"classes": 2}, "flow": flow}
    spec["base"] = {"use": "base/class_conditional_normal"}
    fitted = flowkit.fit(x, labels, spec, epochs=2, progress=False)
    model = flowkit_runtime.load(fitted.export(tmp_path / "bundle"))
    np.testing.assert_allclose(fitted.score(x, draws=2, seed=1), model.score(x, draws=2, seed=1), rtol=1e-4)
    np.testing.assert_allclose(fitted.posterior(x, draws=2, seed=1), model.posterior(x, 2, 1), atol=1e-4)
    by_class = np.stack([fitted.score(x, label, seed=1) for label in (0, 1)]) * 2 * np.log(2)
    shares = np.array(list((fitted.classes or {}).values()))
    marginal = -np.logaddexp.reduce(np.log(shares)[:, None] - by_class, axis=0) / (2 * np.log(2))
    np.testing.assert_allclose(fitted.score(x, seed=1), marginal, rtol=1e-5)


def test_other_contexts_have_no_classes() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    fitted = flowkit.fit(x, x[:, :1], epochs=1, progress=False)
    assert fitted.classes is None
    with pytest.raises(FlowkitError, match="isn't a class"):
        fitted.posterior(x)
    with pytest.raises(FlowkitError, match="this flow is conditional: pass context"):
        fitted.score(x)
    with pytest.raises(FlowkitError, match="label names a column, and x is no table"):
        flowkit.fit(x, label="species", epochs=1, progress=False)


def test_a_flow_without_its_classes_is_not_exported(tmp_path: Path) -> None:
    from flowkit.export import export

    flow = Flow.from_spec(spec_of(Path("x.csv")))
    with pytest.raises(FlowkitError, match="the classes of the column 'species' are unknown"):
        export(flow, tmp_path / "bundle")
