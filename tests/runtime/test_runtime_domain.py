"""The manifest has the domain of the data; an event outside of it is refused, and its row and column are named."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flowkit.export import export
from flowkit.flow import Flow
from flowkit_runtime import BundleError, InputError, Model, load
from flowkit_runtime.cli.main import app
from tests.security.bundles import edit_manifest

COLUMNS = {
    "flowkit": 1,
    "event": {"shape": [3], "domain": [[0, 0.1], "real", "positive"]},
    "flow": [{"use": "map/to_reals"}],
}
INSIDE = np.array([0.05, -7.0, 2.0])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("columns") / "bundle"
    export(Flow.from_spec(COLUMNS).eval(), path)
    return path


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load(bundle)


def moved(column: int, value: float, rows: int = 3, row: int = 1) -> np.ndarray:
    x = np.tile(INSIDE, (rows, 1))
    x[row, column] = value
    return x


OUTSIDE = {
    "above the interval": (0, 0.2, r"from 0 to 0\.1 in column 0; in row 1, x\[1, 0\] is 0\.2"),
    "below the interval": (0, -1e-3, r"from 0 to 0\.1 in column 0; in row 1, x\[1, 0\] is -0\.001"),
    "below the half-line": (2, -1e-30, r"from 0 to inf in column 2; in row 1, x\[1, 2\] is -1"),
}


@pytest.mark.parametrize(("column", "value", "message"), OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("method", ["log_prob", "score", "encode", "reconstruction_error"])
def test_an_event_outside_is_named(model: Model, method: str, column: int, value: float, message: str) -> None:
    with pytest.raises(InputError, match=f"x must lie in the domain of the data, {message}"):
        getattr(model, method)(moved(column, value))


def test_rows_count_from_the_start_of_the_whole(model: Model) -> None:
    with pytest.raises(InputError, match=r"in row 41, x\[41, 2\] is -1"):
        model.score(moved(2, -1.0), start=40, batch_size=1)
    with pytest.raises(InputError, match=r"b must lie in the domain .* column 0"):
        model.interpolate(INSIDE, moved(0, 7.0)[1], 3)


def test_the_ends_are_of_the_domain_as_float32_rounds_them(model: Model) -> None:
    """Training refuses data at an end, but rounding may take a value there, as it takes 0.1 above 0.1."""
    for column, value in ((0, 0.0), (0, 0.1), (2, 0.0), (0, np.float32(0.1)), (1, 1e30)):
        assert np.isfinite(model.score(moved(column, value).astype(np.float32))[[0, 2]]).all()


def test_the_manifest_has_the_ends(model: Model) -> None:
    assert model.manifest["event"]["domain"] == [[0.0, 0.1], [None, None], [0.0, None]]
    assert model.domain == ((0.0, 0.1), (-np.inf, np.inf), (0.0, np.inf))
    assert np.isfinite(model.score(np.tile(INSIDE, (2, 1)))).all()


def test_score_names_the_file_and_the_row(bundle: Path, tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c"], *moved(2, -3.0, rows=9, row=5).tolist()])
    for arguments in (["score", bundle, tmp_path / "x.csv"], ["encode", bundle, tmp_path / "x.csv", "-o", "z.npz"]):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 2
        assert "x.csv" in result.output and "in row 5, x[5, 2] is -3" in result.output
    assert "in (0, 0.1), (-inf, inf), (0, inf)" in CliRunner().invoke(app, ["info", str(bundle)]).output


@pytest.mark.parametrize("domain", [3, [], [[0]], [[0, 1], [0, 1]], [[1, 0]], [[0, "1"]], [[0, True]], [[0, 10**400]]])
def test_a_malformed_domain_is_refused(make_bundle: Any, domain: Any) -> None:
    with pytest.raises(BundleError, match=r"malformed: event\.domain"):
        load(make_bundle(event={"shape": [1, 2, 2], "levels": None, "domain": domain}))


def test_one_domain_for_all_values_of_an_image(make_bundle: Any) -> None:
    model = load(make_bundle(event={"shape": [1, 2, 2], "levels": None, "domain": [[0, 10]]}))
    x = np.full((2, 1, 2, 2), 3.0)
    assert np.isfinite(model.score(x)).all()
    x[1, 0, 1, 0] = 11
    with pytest.raises(InputError, match=r"from 0 to 10; in row 1, x\[1, 0, 1, 0\] is 11"):
        model.score(x)


# Events that lack a value, among those of a table


@pytest.fixture
def of_a_table(bundle: Path, tmp_path: Path) -> Model:
    """The model of a flow that was trained without the rows of a table that lack a value."""
    columns = [{"column": name} for name in "abc"]
    table = {"event": columns, "context": [], "missing": "drop"}
    edited = Path(shutil.copytree(bundle, tmp_path / "table"))
    edit_manifest(edited, lambda manifest: manifest.update(preprocessing=table))
    return load(edited)


def test_the_event_outside_is_named_behind_one_that_lacks_a_value(of_a_table: Model) -> None:
    x = moved(0, 0.2, row=1)
    x[0] = np.nan
    with pytest.raises(InputError, match=r"in column 'a'; in row 1, x\[1, 0\] is 0\.2"):
        of_a_table.score(x)


def test_events_that_all_lack_a_value_have_no_score(of_a_table: Model) -> None:
    assert np.isnan(of_a_table.score(np.full((2, 3), np.nan))).all()
