from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import app
from flowkit.plugin import Registry


def test_a_line_for_each_plugin() -> None:
    result = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "glow/squeeze" in line]
    assert line.split()[:2] == ["glow/squeeze", "bijector"]
    assert "[c, h, w] -> [4c, h/2, w/2]" in line  # brackets are no markup
    assert line.split()[-2:] == ["flowkit", flowkit.__version__]
    assert result.stderr == ""


def test_names_stay_whole_in_a_narrow_window() -> None:
    result = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "80"})
    assert "base/standard_normal" in result.stdout


def test_broken_plugins_are_named_and_the_rest_works(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Registry.discover().entries | {"sad": [EntryPoint("sad", "a_module_that_is_nowhere", "flowkit")]}
    monkeypatch.setattr(Registry, "discover", lambda: Registry(entries))
    result = CliRunner().invoke(app, ["plugins"])
    assert result.exit_code == 0
    assert "glow/squeeze" in result.stdout
    assert result.stderr.startswith("broken: plugin 'sad'") and "a_module_that_is_nowhere" in result.stderr
