from __future__ import annotations

import json

from jsonschema import Draft7Validator
from typer.testing import CliRunner

from flowkit.cli.main import app


def test_it_prints_json_as_it_is() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    Draft7Validator.check_schema(schema)
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/actnorm"}]}
    assert Draft7Validator(schema).is_valid(spec)
    assert not Draft7Validator(schema).is_valid({**spec, "flow": [{"use": "glow/nothing"}]})
