"""The graph of imports, those for type checkers included."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
OFFERED = ("flowkit.bijectors", "flowkit.plugin", "flowkit.plugin.rows")
"""The modules of flowkit whose names are offered to authors of plugins."""


def test_no_module_is_imported_by_what_it_imports() -> None:
    """import-linter's contract sees cycles among siblings; this sees those through a package's own __init__, too."""
    packages = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["root_packages"]
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # CycleError names the modules of a cycle


def test_flowkits_own_plugins_import_what_strangers_are_offered() -> None:
    offered = {(module, name) for module in OFFERED for name in import_module(module).__all__}
    for file in PROJECT.parent.glob("plugins/flowkit_*/*.py"):
        assert set(_imported_from_flowkit(file)) <= offered, file.name


def _imported_from_flowkit(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("flowkit."):
            yield from ((str(node.module), each.name) for each in node.names)
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if f"{each.name}.".startswith("flowkit."))
