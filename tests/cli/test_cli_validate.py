from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app

GOOD = """\
flowkit: 1
event: {shape: [1, 8, 8]}
flow:
  - repeat: 2
    flow:
      - use: glow/squeeze
      - use: glow/actnorm
      - factor_out: channels
"""


@pytest.fixture(autouse=True)
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD)
    Path("single.yaml").write_text("{flowkit: 1, event: {shape: [3]}, flow: [{use: glow/actnorm}]}")
    Path("bad.yaml").write_text(GOOD.replace("actnorm", "actnrm"))
    Path("worse.yaml").write_text("flowkit: [1\n")


def test_valid() -> None:
    result = CliRunner().invoke(app, ["validate", "good.yaml", "single.yaml"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "good.yaml: valid: 6 layers, event [1, 8, 8], latents [2, 4, 4] + [4, 2, 2] + [4, 2, 2]",
        "single.yaml: valid: 1 layer, event [3], latents [3]",
    ]


def test_all_files_are_reported() -> None:
    result = CliRunner().invoke(app, ["validate", "bad.yaml", "good.yaml", "worse.yaml", "missing.yaml"])
    assert result.exit_code == 2
    assert result.stdout.startswith("good.yaml: valid")
    assert "bad.yaml:7:14: flow[0].flow[1].use: there is no bijector 'glow/actnrm'" in result.stderr
    assert "did you mean glow/actnorm" in result.stderr
    assert "worse.yaml:1:10: the bracket that opens here is never closed" in result.stderr
    assert "missing.yaml: there is no such file" in result.stderr


def test_overrides() -> None:
    result = CliRunner().invoke(app, ["validate", "good.yaml", "--set", "flow[0].repeat=1", "--set", "train.epochs=2"])
    assert result.stdout.startswith("good.yaml: valid: 3 layers")
    result = CliRunner().invoke(app, ["validate", "good.yaml", "--set", "train.epocs=2"])
    assert result.exit_code == 2
    assert result.stderr.startswith("--set:1:7: train.epocs: unknown field 'epocs'\n    train.epocs=2\n          ^")


def test_the_process() -> None:
    command = [
        sys.executable,
        "-c",
        "from flowkit.cli.main import main; main()",
        "validate",
        "bad.yaml",
        "good.yaml",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert "bad.yaml:7:14:" in done.stderr
