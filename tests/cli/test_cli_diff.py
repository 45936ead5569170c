from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.spec import model_hash, read_spec

SPEC = "flowkit: 1\nevent: {shape: [2]}\nflow:\n  - use: glow/actnorm\n  - use: glow/conv1x1\n"


def diff(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["diff", *arguments])


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hash of a.yaml, as it is shown."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SPEC)
    step = {"use": "glow/conv1x1", "parametrization": "lu"}
    spec = {"event": {"shape": [2]}, "flow": [{"use": "glow/actnorm"}, step], "flowkit": 1}
    Path("a.json").write_text(json.dumps(spec))
    Path("run").mkdir()
    Path("run/spec.yaml").write_text(SPEC + "train: {epochs: 3}\n")
    Path("b.yaml").write_text(SPEC.replace("actnorm", "permute"))
    Path("bad.yaml").write_text(SPEC.replace("actnorm", "actnrm"))
    return model_hash(read_spec("a.yaml"))[:12]


def test_equal(model: str) -> None:
    result = diff("a.yaml", "a.json")
    assert (result.exit_code, result.stdout) == (0, f"no differences, same model {model}\n")


def test_the_same_model_trained_otherwise(model: str) -> None:
    result = diff("a.yaml", "run")
    assert result.exit_code == 1
    assert result.stdout == f"~ train.epochs: 10 -> 3\n1 difference, same model {model}\n"


def test_other_models(model: str) -> None:
    result = diff("a.yaml", "b.yaml")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "- flow[0]: {use: glow/actnorm}",
        "+ flow[0]: {use: glow/permute, order: reverse}",
        f"2 differences, models {model} and {model_hash(read_spec('b.yaml'))[:12]}",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.yaml", "bad.yaml"), "bad.yaml:4:10: flow[0].use: there is no bijector 'glow/actnrm'"),
        (("a.yaml", "nowhere"), "nowhere: there is no such file"),
        (("a.yaml", "."), "spec.yaml: there is no such file"),
        (("a.yaml",), "Missing argument 'B'"),
    ],
)
def test_errors(arguments: tuple[str, ...], message: str) -> None:
    result = diff(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_colours_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    red, green = "\x1b[31m", "\x1b[32m"
    first, second, _ = diff("a.yaml", "b.yaml").stdout.splitlines()
    assert first.startswith(f"{red}- flow[0]") and second.startswith(f"{green}+ flow[0]")
