"""A name of a type stands for one type, in flowkit, its plugins and its runtime."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = {"Commands", "InputError", "Shape"}
"""The same thing in flowkit and in the runtime, which is installed without flowkit."""


def types_in(path: Path) -> Iterator[str]:
    """The public classes and aliases of types at the top of a module: the names in CamelCase."""
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                if name[0].isupper() and not name.isupper():
                    yield name


def test_no_two_types_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for package in ("flowkit", "flowkit_nf", "plugins", "runtime"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "template" not in path.parts:
                for name in types_in(path):
                    places[name].append(str(path.relative_to(ROOT)))
    assert len(places) > 200
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in SHARED} == {}
