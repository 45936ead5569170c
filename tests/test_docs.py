"""The documentation is true: its specs are valid, and the README and the tutorial run as written."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowkit_runtime
from flowkit.spec import SpecError, read_spec, walk
from tests.pages import COMMANDS, ROOT, blocks, obey, python, run_ours
from tests.thirdparty.place import Place, install, lint

MIGRATION = [page.relative_to(ROOT).as_posix() for page in sorted((ROOT / "docs/migration").glob("*.md"))]
SPECS = [
    text
    for page in ("README.md", "docs/specs.md", "docs/tables.md", *MIGRATION)
    for kind, text in blocks(page)
    if kind == "yaml"
]


@pytest.mark.parametrize("text", SPECS, ids=lambda text: text[:40])
def test_the_specs_shown_are_valid(text):
    walk(read_spec(text))


BROKEN = """\
flowkit: 1
event: {shape: [1, 8, 8], levels: 17}
flow:
  - use: glow/rescale
  - use: glow/squeze
  - coupling: {use: glow/affine}
    conditioner: {use: glow/convnet, hiden: 48}
"""


def test_the_messages_shown_are_those_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text(BROKEN, "utf-8")
    (shown,) = [text for kind, text in blocks("README.md") if kind == "text"]
    with pytest.raises(SpecError) as caught:
        read_spec(Path("broken.yaml"))
    assert f"{caught.value}\n" == shown


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
            file, _, heading = target.partition("#")
            there = page.parent / file if file else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not heading or heading in headings(there.read_text("utf-8")), f"{page.name} links to {target}"


def headings(text: str) -> set[str]:
    """As links name them."""
    return {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def features(page: str) -> dict[str, list[bool]]:
    """The features of a page's table: for each library, whether it has them."""
    lines = [line.strip("|").split("|") for line in (ROOT / page).read_text("utf-8").splitlines() if line[:2] == "| "]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) == 7]
    return {name: [cell != "–" for cell in has] for name, *has in cells if name and set(name) != {"-"}}


def test_the_features_in_the_readme_are_those_of_the_comparison():
    shown = features("README.md")
    assert len(shown) > 10 and shown.items() <= features("docs/comparison.md").items()


@pytest.mark.slow
def test_the_readme_runs_as_written(tmp_path):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    (moons,) = [text for kind, text in blocks("README.md") if kind == "yaml"]
    assert len(moons.splitlines()) == 10 and moons.startswith("# moons.yaml\n")
    fewer = moons.replace("name: moons}", "name: moons, n: 2000}")  # than 10,000 points
    (tmp_path / "moons.yaml").write_text(fewer, "utf-8")
    place = Place(tmp_path)
    pages = "README.md", "docs/web.md", "docs/export.md", "docs/serving.md"
    for kind, text in [block for page in pages for block in blocks(page)]:
        if kind in ("yaml", "text", "js") or text.startswith("make"):  # the two commands are what CI runs
            continue
        if kind == "bash":
            obey(place, text)
        elif "ray" in (names := python(place, text)):
            compare_with_ray(place, names)
    assert (tmp_path / "scores.npy").exists() and (tmp_path / "scores.csv").exists()
    assert (tmp_path / "exports/moons-page/index.html").exists()


def compare_with_ray(place: Place, names: dict[str, Any]) -> None:
    """The workers of Ray Data give the scores of this process."""
    try:
        found = names["scored"].to_pandas()
    finally:
        names["ray"].shutdown()
    model = flowkit_runtime.load(place.directory / "exports/moons")
    scores = model.score(np.load(place.directory / "points.npy")[:100])
    np.testing.assert_allclose(found["score"], scores, atol=1e-5)
    assert np.array_equal(found["anomalous"], model.anomalous(scores))


@pytest.mark.slow
def test_the_page_on_python_runs_as_written(tmp_path):
    """As a notebook: each block goes on from those before it."""
    python(Place(tmp_path), "".join(text for kind, text in blocks("docs/python.md") if kind == "python"))
    assert (tmp_path / "exports/two-moons/manifest.json").exists()


@pytest.mark.slow
def test_the_page_on_tables_runs_as_written(tmp_path):
    place = Place(tmp_path)
    for kind, text in blocks("docs/tables.md"):
        if kind not in ("yaml", "text"):
            obey(place, text) if kind == "bash" else python(place, text)
    assert (tmp_path / "flat-scores.csv").exists() and (tmp_path / "drawn.csv").exists()


@pytest.mark.slow
def test_the_page_on_training_runs_as_written(tmp_path):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    place = Place(tmp_path)
    for kind, text in blocks("docs/training.md"):
        obey(place, text) if kind == "bash" else place.python(text)
    assert all((tmp_path / "runs" / run / "results.json").exists() for run in ("two-processes", "ray"))


@pytest.mark.slow
def test_the_page_on_sweeps_runs_as_written(tmp_path):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    place = Place(tmp_path)
    for kind, text in blocks("docs/sweeps.md"):
        if kind == "yaml":
            (tmp_path / "space.yaml").write_text(text, "utf-8")
        elif kind == "bash":
            obey(place, text)
    assert (tmp_path / "runs/best/results.json").exists()


FILE = re.compile(r"# (\S+\.(?:py|yaml))(, as generated)?\n")


class Reader:
    """Does what the tutorial says, block by block.

    A block that begins with the name of a file is that file, or what is in it ("as generated"). A diff is undone
    after the commands that follow. A text is what the last commands said.
    """

    def __init__(self, directory: Path) -> None:
        self.place = Place(directory)
        self.said = ""
        self.undo: list[Callable[[], object]] = []

    def bash(self, text: str) -> None:
        self.said = "".join(self._obey(*line.partition("  # fails")) for line in text.splitlines())
        while self.undo:
            self.undo.pop()()

    def _obey(self, command: str, fails: str, _: str) -> str:
        words = shlex.split(command)
        if words[0] == "cd":
            self.place = replace(self.place, directory=self.place.directory / words[1])
        elif words[:3] == ["pip", "install", "-e"]:
            site = self.place.directory.parent / "site"
            install(self.place, site)
            self.place = replace(self.place, sites=(self.place.directory, site))  # later edits count, as with -e
        elif words[0] in COMMANDS:
            return run_ours(self.place, *words, fails_with=2 if fails else 0)
        else:
            done = self.place.run(*words, fails_with=1 if fails else 0)
            return done.stdout + done.stderr
        return ""

    def text(self, text: str) -> None:
        for line in text.splitlines():
            assert " ".join(line.split()) in " ".join(self.said.split())

    def diff(self, text: str) -> None:
        name, *lines = text.splitlines(keepends=True)
        file = self.place.directory / name.removeprefix("# ").strip()
        before = file.read_text(encoding="utf-8")
        old, new = ("".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
        assert before.count(old) == 1
        file.write_text(before.replace(old, new), encoding="utf-8")
        self.undo.append(lambda: file.write_text(before, encoding="utf-8"))

    def python(self, text: str) -> None:
        found = FILE.match(text)
        if not found:
            python(self.place, text)
            return
        file, body = self.place.directory / found[1], text[found.end() :]
        if found[2]:
            assert body in file.read_text(encoding="utf-8")
        else:
            file.write_text(body, encoding="utf-8")

    yaml = python


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tmp_path):
    reader = Reader(tmp_path)
    for language, text in blocks("docs/your-first-plugin.md"):
        getattr(reader, language)(text)
    package = tmp_path / "flowkit-skew"
    assert (package / "runs/example/results.json").is_file() and (package / "exports/example/decode.onnx").is_file()
    lint(reader.place, "flowkit_skew", "tests")
