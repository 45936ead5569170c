from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import app
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from tests.plugin.sites import PLUGIN, install

SUMMARY = "Normalizing flows from declarative specs, exported to ONNX in both directions"


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    """What `flowkit plugins …` says on stdout and on stderr."""
    result = CliRunner().invoke(app, ["plugins", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_a_line_for_each_namespace(arguments: list[str]) -> None:
    out, err = run(*arguments)
    (line,) = [line for line in out.splitlines() if line.startswith("glow ")]
    assert re.split(r"\s{2,}", line) == ["glow", "flowkit-nf", flowkit.__version__, "available", SUMMARY]
    assert "flowkit plugins show NAMESPACE" in out and "flowkit plugins list --all" in out
    assert err == ""


def test_a_line_for_each_plugin() -> None:
    out, err = run("list", "--all")
    (line,) = [line for line in out.splitlines() if line.startswith("glow/squeeze ")]
    cells = re.split(r"\s{2,}", line)
    assert cells[:-1] == ["glow/squeeze", "bijector", "exact", "both", "flowkit-nf", flowkit.__version__]
    assert "[c, h, w] -> [4c, h/2, w/2]" in cells[-1]
    assert err == ""


def test_broken_plugins_are_named_and_the_rest_works(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Registry.discover().entries | {"sad": [EntryPoint("sad", "a_module_that_is_nowhere", "flowkit")]}
    monkeypatch.setattr(Registry, "discover", lambda: Registry(entries))
    out, err = run("list", "--all")
    assert "glow/squeeze" in out
    assert err.startswith("broken: plugin 'sad'") and "a_module_that_is_nowhere" in err


@pytest.mark.parametrize("arguments", [["list"], ["list", "--all"], ["show", "odd"], ["show", "odd/layer"]])
def test_what_others_wrote_does_not_command_the_terminal(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = PLUGIN.replace("y = x + b.", "\\x1b[2Jy = x + b.").replace('"shift"', '"layer"')
    install(tmp_path, "odd", module="odd_module", code=code)
    (metadata,) = tmp_path.glob("*/METADATA")
    metadata.write_text(metadata.read_text().replace("The odd.", "The \x1b[2J odd."))
    monkeypatch.syspath_prepend(tmp_path)
    out, _ = run(*arguments)
    assert "\\x1b[2J" in out and "\x1b" not in out


def test_the_plugins_of_a_namespace() -> None:
    out, _ = run("show", "spline")
    assert out.startswith(
        f"spline, of flowkit-nf {flowkit.__version__}: {SUMMARY}\n\nspline/rational_quadratic  transformer"
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("glow/squeeze", ["[3, 8, 8] -> [12, 4, 4]", "[2]: refused: squeeze needs an image", "log|det| = 0"]),
        ("glow/affine", ["scale  [number, number] or sigmoid  [0.25, 4]  Bounds [lo, hi] of s", "θ = (t, b)"]),
        ("glow/rescale", ["high  number or null  computed  The value that is mapped to 1/2.", "levels: 256"]),
        ("base/standard_normal", ["Fields\n    none", "log p(z)", "base: {use: base/standard_normal}"]),
        ("data/mnist", ["path  path  required  ", "data: {use: data/mnist, path: path/to/it}"]),
    ],
)
def test_one_plugin(name: str, lines: list[str]) -> None:
    out, err = run("show", name)
    kind = Registry.discover().look_up(None, name).kind
    assert out.startswith(f"{name}: {kind} of flowkit-nf {flowkit.__version__}, plugin API 1, exact likelihood\n")
    assert all(line in out for line in lines), out
    assert err == ""


def test_a_target_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "astray")
    monkeypatch.syspath_prepend(tmp_path)
    out, _ = run("show", "astray/shift")
    assert "\nTarget nowhere:Shift\n    can't be found: there is no module nowhere\n" in out


def test_its_example_is_a_spec() -> None:
    out, _ = run("show", "glow/checkerboard")
    read_spec(out.partition("\nExample\n")[2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glow/squeze", "there is no plugin 'glow/squeze'; did you mean glow/squeeze"),
        ("residual/layer", "there is no plugin 'residual/layer'; plugins of the namespace residual: residual/planar"),
        ("residual/squeeze", "plugins of the namespace residual: residual/planar; did you mean glow/squeeze?"),
        ("glwo/squeeze", "did you mean glow/squeeze?"),
        (
            "glwo",
            "no plugin namespace 'glwo' is installed (installed: autoregressive, base, data, encoder, glow, map, "
            "mixture, residual, spline); did you mean glow?",
        ),
        ("nothing", "pip install the package that brings it"),
    ],
)
def test_names_that_are_not_there(name: str, words: str) -> None:
    out, err = run("show", name, code=2)
    assert out == "" and words in err


def test_every_command_has_an_example_in_its_help() -> None:
    for name in ("list", "show"):
        out, _ = run(name, "--help")
        assert f"Example: flowkit plugins {name}" in " ".join(out.split())
