from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft7Validator

from flowkit.plugin import Registry
from flowkit.spec.schema import json_schema
from flowkit.spec.text import read_text


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    return json_schema(registry)


def test_it_is_a_draft_07_schema(schema: dict[str, Any]) -> None:
    for part in (
        schema,
        *schema["$defs"].values(),
    ):  # $defs is no keyword of draft 07: nothing checks it by itself
        Draft7Validator.check_schema(part)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_a_good_spec_fits(schema: dict[str, Any], good: str) -> None:
    assert list(Draft7Validator(schema).iter_errors(read_text(good).data)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("flowkit: 1", "flowkit: 2"),
        ("epochs: 3", "epocs: 3"),
        ("use: toy/scale", "use: toy/nothing"),
        ("use: toy/scale", "use: toy/affine"),
        ("factor: 3", "factor: x"),
        ("[0.5, 2]", "[0.5, x]"),
        ("[0.5, 2]", "[0.5, 2, 3]"),
        ("hidden: 16", "hiden: 16"),
        ("factor_out: channels", "factor_out: rows"),
        ("data: {use: toy/points,", "data: {"),
        ("repeat: 3", "repeat: 0"),
    ],
)
def test_a_bad_spec_does_not_fit(before: str, after: str, schema: dict[str, Any], good: str) -> None:
    assert before in good
    assert not Draft7Validator(schema).is_valid(read_text(good.replace(before, after, 1)).data)


def test_every_plugin_and_what_its_fields_are_for(schema: dict[str, Any]) -> None:
    scale = schema["$defs"]["toy.scale"]
    assert scale["properties"]["factor"]["description"] == "What x is multiplied with."
    assert scale["properties"]["use"] == {"const": "toy/scale"}
    assert scale["description"] == "y = factor x."
    assert {"$ref": "#/$defs/toy.affine"} in schema["$defs"]["transformer"]["oneOf"]


def test_references_lead_somewhere(schema: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return found.union(*map(references, part.values()))
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    assert references(schema) <= {f"#/$defs/{name}" for name in schema["$defs"]}
    assert "x-flowkit" not in str(schema)


def test_without_plugins_no_step_fits() -> None:
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale"}]}
    empty = json_schema(Registry())
    Draft7Validator.check_schema(empty["$defs"]["bijector"])
    assert not Draft7Validator(empty).is_valid(spec)
