"""A run and a bundle to damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flowkit.spec import read_spec
from flowkit.train import train
from tests.security.bundles import write_bundle

SPEC: dict[str, Any] = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [{"use": "glow/actnorm"}],
    "data": {"use": "data/toy", "name": "moons", "n": 40},
    "train": {"epochs": 2, "batch_size": 20},
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    train(read_spec(SPEC), run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def unfinished(run: Path) -> Path:
    (run / "results.json").unlink()
    return run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")
