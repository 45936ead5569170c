from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flowkit.cli.main import app

SPEC = """\
flowkit: 1
event: {shape: [1, 8, 8], levels: 17}
flow:
  - use: glow/squeeze
  - repeat: 3
    flow:
      - use: glow/actnorm
      - coupling: {use: spline/rational_quadratic}
        conditioner: {use: glow/convnet, hidden: 4}
  - factor_out: channels
"""


def show(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["show", "spec.yaml", *arguments], env={"COLUMNS": "90"})


@pytest.fixture(autouse=True)
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC)


def test_a_table() -> None:
    result = show()
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "layer times event becomes leaves parameters"
    assert lines[1:5] == [
        "glow/squeeze × 1 [1, 8, 8] [4, 4, 4] 0",
        "glow/actnorm × 3 [4, 4, 4] 24",
        "coupling spline/rational_quadratic × 3 [4, 4, 4] 5,556",
        "factor_out × 1 [4, 4, 4] [2, 4, 4] [2, 4, 4] 0",
    ]
    assert lines[6] == "event [1, 8, 8] (integers below 17) -> latents [2, 4, 4] + [2, 4, 4], base base/standard_normal"
    assert lines[7].startswith("5,580 parameters, exact likelihood, model ")


def test_a_table_has_the_domains() -> None:
    Path("spec.yaml").write_text(
        "flowkit: 1\nevent: {shape: [2], domain: [positive, real]}\nflow: [{use: map/to_reals}]\n"
    )
    assert "[positive, real]" in show().stdout.splitlines()[1]


@pytest.mark.parametrize("form", ["dot", "svg"])
def test_a_picture_is_utf8_whatever_the_locale(form: str) -> None:
    Path("spec.yaml").write_text("flowkit: 1\nevent: {shape: [2], domain: [5, null]}\nflow: [{use: map/to_reals}]\n")
    result = CliRunner(charset="cp1252").invoke(app, ["show", "spec.yaml", "--format", form])
    assert result.exit_code == 0 and "∞" in result.stdout_bytes.decode("utf-8")


def test_json_with_overrides() -> None:
    described = json.loads(show("--format", "json", "--set", "flow[1].repeat=2").stdout)
    assert [step["parameters"] for step in described["steps"]] == [0, 8, 1852, 8, 1852, 0]


@pytest.mark.parametrize("form", ["json", "dot", "svg"])
def test_the_form_follows_the_suffix(form: str) -> None:
    result = show("-o", f"deep/spec.{form}")
    assert (result.exit_code, result.stdout) == (0, f"spec.yaml: deep/spec.{form}\n")
    assert Path(f"deep/spec.{form}").read_text("utf-8") == show("--format", form).stdout


def test_a_table_in_a_file_is_plain_text() -> None:
    show("-o", "spec.txt")
    assert Path("spec.txt").read_text("utf-8").startswith("layer")


def test_a_format_overrules_the_suffix() -> None:
    show("-o", "picture.xml", "--format", "svg")
    assert ElementTree.parse("picture.xml").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "spec.pdf"), "spec.pdf must end with .txt, .json, .dot, .svg"),
        (("--format", "pdf"), "'pdf' is not one of"),
        (("--set", "flow[0].use=glow/squeez", "-o", "x.svg"), "there is no bijector 'glow/squeez'"),
    ],
)
def test_what_it_refuses(arguments: tuple[str, ...], message: str) -> None:
    result = show(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert sorted(path.name for path in Path().iterdir()) == ["spec.yaml"]
