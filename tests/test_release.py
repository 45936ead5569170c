"""What a release is made of: one version everywhere, a changelog in its form, and files that others' tools read."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flowkit import __version__
from flowkit_runtime.bundle import FORMAT
from tests import lowest
from tests.pages import ROOT

HEADINGS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Those of https://keepachangelog.com."""


def test_all_files_say_the_same_version() -> None:
    runtime = tomllib.loads((ROOT / "runtime/pyproject.toml").read_text("utf-8"))["project"]["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    newest = re.search(r"^## \[(.*?)\] - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert cited and newest
    assert {__version__} == {runtime, cited[1], newest[1]}
    versions = (ROOT / "docs/versioning.md").read_text("utf-8")
    assert f"| the packages | {__version__} |" in versions and f'`"format": {FORMAT}`' in versions


def test_every_package_is_typed() -> None:
    packages = {
        file.parent for place in (".", "plugins", "runtime") for file in ROOT.glob(f"{place}/flowkit*/__init__.py")
    }
    assert len(packages) >= 12 and not [each for each in packages if not (each / "py.typed").exists()]


def test_the_changelog_has_the_headings_of_keep_a_changelog() -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings and set(headings) <= HEADINGS and len(headings) == len(set(headings))


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("citation-file-format", "CITATION.cff"),
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
    ],
)
def test_files_for_others_follow_their_schemas(schema: str, files: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *ROOT.glob(files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and len(command) > 5, done.stdout


def test_each_dependency_has_a_lowest_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lowest.constraints()
    assert "numpy==1.26" in found and not any(line.startswith("torch==") for line in found)
    assert all(re.fullmatch(r"[\w.-]+==\d[\d.]*", line) for line in found)
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n', "utf-8")
    monkeypatch.setattr(lowest, "PROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(ValueError, match="numpy has no lowest version"):
        lowest.constraints()
