"""docs/conformance.md is true: it is that of the checks, and what it shows runs."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "conformance.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_is_up_to_date() -> None:
    assert runpy.run_path(str(DOCS / "conformance.py"))["page"]() == PAGE, "run `make docs`"


@pytest.mark.slow
def test_the_tests_shown_pass(tmp_path: Path) -> None:
    (code,) = [text for language, text in BLOCKS if language == "python"]
    (tmp_path / "test_shown.py").write_text(code, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ passed, 2 deselected in", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()])
def test_the_commands_run(line: str) -> None:
    assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0
