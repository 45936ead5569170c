"""The page's modules in Node, without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from flowkit.export.web import page, vendored


def with_modules(directory: Path, names: Iterable[str]) -> Path:
    """Put the page's modules and onnxruntime-web into a directory. Skips the test without Node."""
    if shutil.which("node") is None:
        pytest.skip("no Node here: `apt-get install nodejs`; the page's modules are NOT run without a browser")
    for name in names:
        shutil.copy(page.SOURCES / name, directory)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "ort.mjs").write_bytes(vendored.read(vendored.SCRIPT))
    (directory / "ort.wasm").write_bytes(vendored.read(vendored.BINARY))
    return directory


def said(directory: Path, script: str) -> Any:
    """Return the JSON that a script writes, which runs in the directory."""
    (directory / "run.js").write_text(script, "utf-8")
    done = subprocess.run(["node", "run.js"], cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
