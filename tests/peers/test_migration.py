"""docs/comparison.md and docs/migration/: the classes that they name exist, and copied weights give equal densities."""

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
    rows = [row[0] for row in table(f"docs/migration/{name}.md") if row[0].startswith("`")]
    header, *features = table("docs/comparison.md")
    named = classes(rows) | classes([row[header.index(PEERS[name])] for row in features])
    assert len(named) > 10
    assert json.loads(in_peers_environment("tests.peers.names", PEERS[name], *sorted(named))) == []


def table(page: str) -> list[list[str]]:
    """Return the cells of the rows of a page's tables."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]


def classes(cells: list[str]) -> set[str]:
    """Return the names in code that begin like those of classes."""
    return {name for cell in cells for name in re.findall(r"`([A-Z]\w+)`", cell)}


@pytest.mark.parametrize("name", PEERS)
def test_copied_weights_give_the_same_densities(name: str, tmp_path: Path, peers_python: Path) -> None:
    """A block that imports flowkit runs here, another one where the peer is. A YAML block is the file that it names."""
    for kind, text in blocks(f"docs/migration/{name}.md"):
        if kind == "yaml":
            (tmp_path / text.split()[1]).write_text(text, "utf-8")
        else:
            Place(tmp_path).run(sys.executable if "import flowkit" in text else peers_python, "-c", text)
