"""Runs modules in the environment of the peers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def peers_python() -> Path:
    """The interpreter of the environment that has the peers."""
    python = Path(os.environ.get("FLOWKIT_PEERS_PYTHON", ROOT / ".venv-peers/bin/python"))
    if not python.exists():
        pytest.skip("no environment with nflows, normflows, FrEIA and zuko: `make peers`, or set $FLOWKIT_PEERS_PYTHON")
    return python


@pytest.fixture(scope="session")
def in_peers_environment(peers_python: Path) -> Callable[..., str]:
    """(module, *arguments) -> what ``python -m module *arguments`` prints there."""

    def run(module: str, *arguments: str | Path) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [peers_python, "-m", module, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
