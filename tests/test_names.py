"""A name of a type or function stands for one thing, in flowkit, its plugins and its runtime."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowkit.plugin.kinds import KINDS

ROOT = Path(__file__).parent.parent
SHARED = {"Commands", "InputError", "Shape", "enough_memory"}
"""The same thing in flowkit and in the runtime, which is installed without flowkit."""
SAID_BY_OTHERS = {kind.hook for kind in KINDS.values()}
"""Hooks have the names that flowkit gives them."""


def types(tree: ast.Module) -> Iterator[str]:
    """The public classes and aliases of types at the top of a module: the names in CamelCase."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                if name[0].isupper() and not name.isupper():
                    yield name


def functions(tree: ast.Module) -> Iterator[str]:
    """The public functions at the top of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name


@pytest.mark.parametrize(
    ("names", "left_out"),
    [(types, set()), (functions, {"cli", "flowkit_nf", "testing"})],  # commands, and the kit's checks of each kind
    ids=["types", "functions"],
)
def test_no_two_have_one_name(names: Callable[[ast.Module], Iterator[str]], left_out: set[str]) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for package in ("flowkit", "flowkit_nf", "plugins", "runtime"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if not {"template", *left_out} & set(path.relative_to(ROOT).parts):
                for name in names(ast.parse(path.read_text("utf-8"))):
                    places[name].append(str(path.relative_to(ROOT)))
    assert len(places) > 200
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in SHARED | SAID_BY_OTHERS} == {}
