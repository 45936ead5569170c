"""docs/starting-a-spec.md: its commands run as written, and it shows what `flowkit diff` says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/starting-a-spec.md").read_text("utf-8"), re.M | re.S)
EDITS = {
    "repeat: 6": "repeat: 4",
    "      - use: glow/actnorm\n": "",
    "coupling: {use: glow/affine}\n        conditioner: {use: glow/mlp, hidden: 64}\n      -": (
        "coupling: {use: glow/affine, scale: [0.5, 2]}\n        conditioner: {use: glow/mlp, hidden: 64}\n      -"
    ),
    "epochs: 30": "epochs: 5",
}


def test_the_difference_shown_is_the_one_given(tmp_path):
    before = ROOT / "specs" / "realnvp-moons.yaml"
    text = before.read_text("utf-8")
    for old, new in EDITS.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "after.yaml").write_text(text, "utf-8")
    (shown,) = [block for kind, block in BLOCKS if kind == "text"]
    assert CliRunner().invoke(app, ["diff", str(before), str(tmp_path / "after.yaml")]).stdout == shown


@pytest.mark.slow
def test_the_commands_run_as_written(tmp_path):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(100, 2)))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, text in BLOCKS:
        if kind == "bash":
            subprocess.run(["bash", "-ec", text], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "runs/points/results.json").exists() and (tmp_path / "glow-mnist.svg").exists()
