"""Fifty distributions that bring plugins: none is imported that no spec names, and nothing heavy."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from tests.plugin.sites import install

MANY = 50
HEAVY = ("torch", "numpy", "onnx", "rich")
SPEC = "flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}, {use: many7/shift}]\n"


@pytest.fixture
def many(site: Path) -> Path:
    for n in range(MANY):
        install(site, f"many{n}")
    install(site, "sad", code="raise RuntimeError('sad')")
    (site / "good.yaml").write_text(SPEC)
    (site / "bad.yaml").write_text(SPEC.replace("actnorm", "actnrom"))
    return site


IMPORTED = {
    "plugins": (0, []),
    "validate good.yaml": (0, ["flowkit_many7"]),
    "validate bad.yaml": (2, ["flowkit_many7"]),
    "plugins show many3/shift": (0, ["flowkit_many3"]),
    "plugins show glow/affine": (0, []),
    "--deny-plugins many7 validate good.yaml": (2, []),
}
"""The exit code of each command, and what it imports."""

FORKED = f"""
import os, sys
import flowkit.spec  # once for all commands
from flowkit.cli.main import app
def imported():
    return [name for name in sys.modules if name in {HEAVY} or "many" in name or "sad" in name]
for command in {list(IMPORTED)}:
    if os.fork():
        os.wait()
        continue
    try:
        app(command.split())
    except SystemExit as end:
        print(repr((command, (end.code, imported()))), file=open("said", "a"))
    os._exit(0)
"""


def test_what_commands_import(many: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(many), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", FORKED]
    subprocess.run(command, cwd=many, env=environment, capture_output=True, check=True)
    assert [ast.literal_eval(line) for line in (many / "said").read_text().splitlines()] == list(IMPORTED.items())


def test_a_flow_built_in_python_imports_what_it_needs(many: Path) -> None:
    from flowkit.flow import Flow
    from flowkit_glow.actnorm import ActNorm

    assert Flow([ActNorm((2,))]).to_spec().flow[0].name == "glow/actnorm"  # type: ignore[union-attr]
    assert not [name for name in sys.modules if name.startswith("flowkit_many")]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("glow/actnrom", "did you mean glow/actnorm?"),
        ("glwo/actnorm", "did you mean glow/actnorm?"),
        ("many7/shfit", "did you mean many7/shift"),
        ("nothing/of_the_kind", "pip install"),
        ("actnorm", "did you mean glow/actnorm?"),
        ("zzz", "bijectors installed: glow/rescale, "),
    ],
)
def test_suggestions(name: str, suggestion: str, many: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(f"flowkit: 1\nevent: {{shape: [2]}}\nflow: [{{use: {name}}}]\n")
    (problem,) = caught.value.problems
    assert problem.suggestion and problem.suggestion.startswith(suggestion)
    assert len(str(problem)) < 1000


def test_all_are_found(many: Path) -> None:
    found, broken = Registry.discover().load_all()
    assert {f"many{n}/shift" for n in range(MANY)} <= {each.name for each in found}
    assert list(broken) == ["sad"]


def test_metadata_is_read_again_only_after_something_was_installed(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Registry.discover().namespaces
    with monkeypatch.context() as patch:
        patch.setattr("flowkit.plugin.discovery.distributions", None)
        assert Registry.discover().namespaces == before
    install(many, "late")
    assert set(Registry.discover().namespaces) == {*before, "late"}
    shutil.rmtree(many / "flowkit_late-1.2.dist-info")
    assert Registry.discover().namespaces == before
    Registry.discover().entries.clear()  # what is done to one registry isn't done to another
    assert Registry.discover().namespaces == before
