"""The graph of imports, those for type checkers included."""

from __future__ import annotations

import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_no_module_is_imported_by_what_it_imports() -> None:
    """import-linter's contract sees cycles among siblings; this sees those through a package's own __init__, too."""
    packages = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["root_packages"]
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # CycleError names the modules of a cycle
