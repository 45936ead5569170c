"""Commands as somebody would give them elsewhere, in processes of their own, with other packages installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A directory to run commands in, and what is installed there beside this environment."""

    directory: Path
    sites: tuple[Path, ...] = ()

    def run(self, *command: str | Path, fails_with: int = 0) -> subprocess.CompletedProcess[str]:
        scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        paths = [*map(str, self.sites), *filter(None, [os.environ.get("PYTHONPATH")])]
        result = subprocess.run(
            [shutil.which(command[0], path=scripts) or command[0], *command[1:]],
            cwd=self.directory,
            env={**os.environ, "PATH": scripts, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == fails_with, result.stdout + result.stderr
        return result

    def python(self, code: str) -> None:
        self.run(sys.executable, "-c", code)


def install(place: Place, site: Path) -> None:
    """What `pip install .` would do, offline: with this environment's setuptools, and into ``site``."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    place.run(*pip, "--no-deps", "--no-build-isolation", "--target", site, ".")


def lint(place: Place, *paths: str) -> None:
    """ruff with flowkit's settings, to whose author flowkit is a third party."""
    ruff = ["--no-cache", "--config", f"{ROOT}/pyproject.toml", "--config", "lint.isort.known-first-party=[]"]
    place.run("ruff", "check", *ruff, *paths)
    place.run("ruff", "format", "--check", *ruff, *paths)
