"""docs/starting-a-spec.md: its commands run as written, and it shows what `flowkit diff` says."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from tests.pages import ROOT, blocks, obey
from tests.thirdparty.place import Place

BLOCKS = blocks("docs/starting-a-spec.md")
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
    for kind, text in BLOCKS:
        if kind == "bash":
            obey(Place(tmp_path), text)
    assert (tmp_path / "runs/points/results.json").exists() and (tmp_path / "glow-mnist.svg").exists()
