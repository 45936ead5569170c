from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.spec import read_spec


def new(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new", *arguments])


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 2))
    np.save("x.npy", x)
    np.save("whole.npy", x.round())
    np.save("objects.npy", np.array([None] * 20), allow_pickle=True)
    Path("there.yaml").write_text("precious")


def test_it_says_what_it_saw_and_what_comes_next() -> None:
    result = new("x.npy", "-o", "deep/my spec.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "deep/my spec.yaml: 80 events to train on, [2], continuous",
        "next:  flowkit show 'deep/my spec.yaml'",
        "       flowkit train 'deep/my spec.yaml'",
    ]
    assert read_spec(Path("deep/my spec.yaml")).event.shape == (2,)


def test_a_directory_gives_the_spec_its_name(tmp_path: Path) -> None:
    for i in range(10):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(f"{i}.png")
    result = new(".")
    assert result.exit_code == 0 and read_spec(f"{tmp_path.name}.yaml").event.levels == 256


def test_doubts_are_warnings() -> None:
    result = new("whole.npy", "-o", "x.yaml")
    assert result.exit_code == 0 and Path("x.yaml").exists()
    assert result.stderr.startswith("warning: whole.npy: floats, but whole numbers")


def test_it_replaces_only_when_told() -> None:
    result = new("x.npy", "-o", "there.yaml")
    assert (result.exit_code, Path("there.yaml").read_text()) == (2, "precious")
    assert result.stderr == "there.yaml exists: choose another name, or --overwrite it\n"
    assert new("x.npy", "-o", "there.yaml", "--overwrite").exit_code == 0
    assert read_spec("there.yaml").event.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("objects.npy", "-o", "x.yaml"), "objects.npy is not a .npy file of numbers"),
        (("nowhere.npy", "-o", "x.yaml"), "there is no nowhere.npy: name a .npy file"),
        (("{use: data/nothing}", "-o", "x.yaml"), "there is no dataset 'data/nothing'"),
        (("x.npy", "-o", "x.yaml", "--event", "a"), "--event names columns of a table, and x.npy is none"),
        (("x.npy", "-o", "x.txt"), "x.txt must end with .yaml or .yml"),
    ],
)
def test_what_it_refuses(arguments: tuple[str, ...], message: str) -> None:
    before = sorted(Path().iterdir())
    result = new(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert sorted(Path().iterdir()) == before
