"""`flowkit plugins new`: what it refuses. What it writes is tested in tests/test_thirdparty.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flowkit.cli.main import app


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
        ("mine_", "did you mean mine?"),  # no distribution may be called flowkit-mine_
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
