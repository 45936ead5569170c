"""docs/migration/: the classes that its tables name exist, and flows with copied weights have the same densities."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks
from tests.thirdparty.place import Place

pytestmark = pytest.mark.slow

PEERS = {"normflows": "normflows", "nflows": "nflows", "freia": "FrEIA", "zuko": "zuko"}
"""The page of each peer, and its import package."""


@pytest.mark.parametrize("name", PEERS)
def test_the_classes_exist(name: str, in_peers_environment: Callable[..., str]) -> None:
    page = (ROOT / f"docs/migration/{name}.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = sorted({code for row in rows for code in re.findall(r"`([A-Z]\w+)`", row)})
    assert len(named) > 10
    assert json.loads(in_peers_environment("tests.peers.names", PEERS[name], *named)) == []


@pytest.mark.parametrize("name", PEERS)
def test_copied_weights_give_the_same_densities(name: str, tmp_path: Path, peers_python: Path) -> None:
    """A block that imports flowkit runs here, another one where the peer is. A YAML block is the file that it names."""
    for kind, text in blocks(f"docs/migration/{name}.md"):
        if kind == "yaml":
            (tmp_path / text.split()[1]).write_text(text, "utf-8")
        else:
            Place(tmp_path).run(sys.executable if "import flowkit" in text else peers_python, "-c", text)
