"""The documentation is true: its specs are valid, and the README's commands and Python run as written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit.spec import SpecError, read_spec, walk

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "docs" / "specs.md"]
SPECS = [text for page in PAGES for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == "yaml"]


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
    (shown,) = [text for kind, text in BLOCK.findall(PAGES[0].read_text("utf-8")) if kind == "text"]
    with pytest.raises(SpecError) as caught:
        read_spec(Path("broken.yaml"))
    assert f"{caught.value}\n" == shown


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_readme_runs_as_written(tmp_path):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, text in BLOCK.findall((ROOT / "README.md").read_text("utf-8")):
        if kind in ("yaml", "text") or text.startswith("make"):  # the two commands are what CI runs
            continue
        command = ["bash", "-ec", text] if kind == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "scores.npy").exists()
