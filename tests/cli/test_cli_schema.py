from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.plugin import Registry


def test_it_prints_json_as_it_is() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    Draft7Validator.check_schema(schema)
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/actnorm"}]}
    assert Draft7Validator(schema).is_valid(spec)
    assert not Draft7Validator(schema).is_valid({**spec, "flow": [{"use": "glow/nothing"}]})


def test_plugins_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry({"far": [EntryPoint("far", "a_module_that_is_nowhere", "flowkit")]})
    monkeypatch.setattr(Registry, "discover", lambda: registry)
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["definitions"]["bijector"]["not"] == {}
    assert result.stderr.startswith("left out: ") and "a_module_that_is_nowhere" in result.stderr
