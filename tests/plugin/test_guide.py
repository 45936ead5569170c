"""docs/plugins.md and docs/plugin-contracts.md are true: their Python runs as written, and the options are those."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flowkit.cli.main import app
from tests.pages import ROOT, blocks

BLOCKS = blocks("docs/plugins.md")


@pytest.mark.parametrize("code", [text for language, text in BLOCKS if language == "python"])
def test_the_python_runs(code: str) -> None:
    exec(compile(code, "plugins.md", "exec"), {"__name__": "cell"})


@pytest.mark.slow
@pytest.mark.parametrize("code", [text for kind, text in blocks("docs/plugin-contracts.md") if kind == "python"])
def test_the_python_of_the_contracts_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code, "utf-8")
    runpy.run_path("example.py")


COMMANDS = [
    line.partition("#")[0].strip() for language, text in BLOCKS if language == "bash" for line in text.splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_run(line: str) -> None:
    if " check " in line:  # this takes seconds, and tests/test_docs.py runs it with the others of the README
        assert f"\n{line}\n" in (ROOT / "README.md").read_text("utf-8")
    else:
        assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0


def test_the_table_has_every_option_and_its_variable() -> None:
    page = (ROOT / "docs/plugins.md").read_text("utf-8")
    options = [option for option in typer.main.get_command(app).params if option.envvar]
    assert len(options) == 4
    for option in options:
        assert re.search(rf"^\| `{option.opts[0]}[^`]*` \| `{option.envvar}=", page, re.MULTILINE)
