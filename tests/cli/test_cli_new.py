<<<<<<< HEAD
=======
"""`flowkit plugins new`: what it refuses. What it writes is tested in tests/test_thirdparty.py."""

>>>>>>> author
from __future__ import annotations

from pathlib import Path

<<<<<<< HEAD
import numpy as np
=======
>>>>>>> author
import pytest
from click.testing import Result
from typer.testing import CliRunner

from flowkit.cli.main import app
<<<<<<< HEAD
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
        (("x.npy",), "Missing option '--output'"),
        (("x.npy", "-o", "x.txt"), "x.txt must end with .yaml or .yml"),
    ],
)
def test_what_it_refuses(arguments: tuple[str, ...], message: str) -> None:
    before = sorted(Path().iterdir())
    result = new(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert sorted(Path().iterdir()) == before
=======


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plugins", "new", *arguments])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mine", "did you mean mine?"),
        ("my-own", "did you mean my_own?"),
        ("flowkit-mine", "did you mean mine?"),
        ("flowkit_mine", "did you mean mine?"),
        ("a/b", "did you mean a_b?"),
        ("../up", "can't be a namespace"),
        ("été", "can't be a namespace"),
        ("3d", "can't be a namespace"),
        ("", "can't be a namespace"),
        ("glow", "the namespace glow is taken"),
        ("runtime", "the namespace runtime is taken"),  # no plugin's, but flowkit_runtime is a package
    ],
)
def test_names_that_would_not_do(here: Path, name: str, message: str) -> None:
    result = new(name)
    assert result.exit_code == 2 and message in result.stderr
    assert not list(here.iterdir())


def test_a_directory_in_the_way_stays_as_it_is(here: Path) -> None:
    (here / "flowkit-mine").mkdir()
    (here / "flowkit-mine" / "letters.txt").write_text("dear")
    result = new("mine")
    assert result.exit_code == 2 and "flowkit-mine exists and is not empty" in result.stderr
    assert [path.name for path in here.rglob("*")] == ["flowkit-mine", "letters.txt"]


def test_an_empty_directory_is_filled(here: Path) -> None:
    assert new("mine", "-o", ".").exit_code == 0
    assert (here / "flowkit_mine" / "layer.py").is_file() and (here / ".gitignore").is_file()


def test_nothing_is_left_of_a_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    result = new("mine")
    assert result.exit_code == 2 and result.stderr == "flowkit-mine can't be made: No space left on device\n"
    assert not list(here.iterdir())


def test_the_next_steps_are_those_of_the_directory(here: Path) -> None:
    assert "    cd 'new one'\n" in new("mine", "-o", "new one").stdout
    assert "flowkit_mine/transformer.py" in new("mine", "--kind", "transformer").stdout
>>>>>>> author
