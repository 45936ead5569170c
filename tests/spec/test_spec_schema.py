from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from flowkit.plugin import Registry
from flowkit.spec import read_spec
from flowkit.spec.schema import json_schema
from flowkit.spec.text import read_text

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    return json_schema(registry)


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    return json_schema(Registry.discover())


def test_it_is_a_draft_07_schema(schema: dict[str, Any], installed: dict[str, Any]) -> None:
    for each in (schema, installed):
        Draft7Validator.check_schema(each)
        assert each["$schema"] == "http://json-schema.org/draft-07/schema#"
        assert "x-flowkit" not in str(each) and "$defs" not in str(each)


def test_a_good_spec_fits(schema: dict[str, Any], good: str) -> None:
    assert list(Draft7Validator(schema).iter_errors(read_text(good).data)) == []


# What is replaced in the good spec, by what; the path and the words of the one complaint.
BROKEN = {
    "version": ("flowkit: 1", "flowkit: 2", "$.flowkit", "1 was expected"),
    "version as text": ("flowkit: 1", "flowkit: '1'", "$.flowkit", "not of type 'integer'"),
    "unknown field": ("epochs: 3", "epocs: 3", "$.train", "'epocs' was unexpected"),
    "unknown section": ("data:", "dta:", "$", "'dta' was unexpected"),
    "missing section": ("event: {shape: [2, 4, 4], levels: 256}", "", "$", "'event' is a required property"),
    "quoted number": ("epochs: 3", "epochs: '3'", "$.train.epochs", "'3' is not of type 'integer'"),
    "unknown plugin": ("use: toy/scale", "use: toy/nothing", "$.flow[0].flow[0].use", "'toy/nothing' is not one of"),
    "other kind": ("use: toy/scale", "use: toy/affine", "$.flow[0].flow[0].use", "'toy/affine' is not one of"),
    "value of a plugin": ("factor: 3", "factor: x", "$.flow[0].flow[0].factor", "'x' is not of type 'number'"),
    "bound of a plugin": ("factor: 3", "factor: 0", "$.flow[0].flow[0].factor", "0 is less than or equal to"),
    "tuple": ("[0.5, 2]", "[0.5, x]", "$.flow[0].flow[1].flow[0].coupling.scale", "is not valid"),
    "tuple too long": ("[0.5, 2]", "[0.5, 2, 3]", "$.flow[0].flow[1].flow[0].coupling.scale", "is not valid"),
    "field of a part": ("hidden: 16", "hiden: 1", "$.flow[0].flow[1].flow[0].conditioner", "'hiden' was unexpected"),
    "factor out": ("factor_out: channels", "factor_out: rows", "$.flow[0].flow[2].factor_out", "was expected"),
    "missing use": ("{use: toy/points,", "{", "$.data", "is not valid"),
    "no step": ("- use: toy/squeeze", "- usee: toy/squeeze", "$.flow[0].flow[3]", "is not valid"),
    "repeat": ("repeat: 3", "repeat: 0", "$.flow[0].flow[1].repeat", "0 is less than or equal to"),
    "both contexts": ("{classes: 10}", "{classes: 10, shape: [1]}", "$.context", "is not valid"),
    "context of nothing": ("{classes: 10}", "{classes: null}", "$.context", "is not valid"),
    "grey image": ("shape: [2, 4, 4]", "shape: [4, 4]", "$.event.shape", "should not be valid"),
    "shape": ("shape: [2, 4, 4]", "shape: [2, 4, 4, 4]", "$.event.shape", "is too long"),
}


@pytest.mark.parametrize(("before", "after", "path", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_spec_does_not_fit(
    before: str, after: str, path: str, words: str, schema: dict[str, Any], good: str
) -> None:
    assert before in good
    errors = list(Draft7Validator(schema).iter_errors(read_text(good.replace(before, after, 1)).data))
    assert {error.json_path for error in errors} == {path}
    assert any(words in error.message for error in errors)


@pytest.mark.parametrize("context", ["null", "{classes: 3, shape: null}", "{classes: null, shape: [3]}"])
def test_null_stands_for_none(context: str, schema: dict[str, Any], good: str, registry: Registry) -> None:
    text = good.replace("{classes: 10}", context)
    assert read_spec(text, registry=registry)
    assert list(Draft7Validator(schema).iter_errors(read_text(text).data)) == []


@pytest.mark.parametrize(
    ("step", "fits"),
    [
        ({"elementwise": {"use": "toy/affine"}}, True),
        ({"elementwise": {"use": "toy/affine"}, "conditioner": {"use": "toy/net"}}, True),
        ({"elementwise": {"use": "toy/affine"}, "conditioner": None}, True),
        ({"elementwise": {"use": "toy/net"}}, False),
        ({"elementwise": {"use": "toy/affine"}, "split": {"use": "glow/channels"}}, False),
    ],
)
def test_elementwise_steps(step: dict[str, Any], fits: bool, schema: dict[str, Any]) -> None:
    assert Draft7Validator(schema).is_valid({"flowkit": 1, "event": {"shape": [2]}, "flow": [step]}) == fits


def test_a_step_of_two_kinds_does_not_fit(schema: dict[str, Any]) -> None:
    flow = [{"use": "toy/scale", "repeat": 2}]
    assert not Draft7Validator(schema).is_valid({"flowkit": 1, "event": {"shape": [2]}, "flow": flow})


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_specs_fit(path: Path, installed: dict[str, Any]) -> None:
    assert list(Draft7Validator(installed).iter_errors(read_text(path.read_text("utf-8")).data)) == []


@pytest.mark.skipif(not importlib.util.find_spec("check_jsonschema"), reason="check-jsonschema is not installed")
def test_check_jsonschema(installed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(installed))
    broken = tmp_path / "broken.yaml"
    broken.write_text(SPECS[0].read_text("utf-8").replace("glow/actnorm", "glow/actnrm", 1))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", tmp_path / "schema.json", *SPECS, broken]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "'glow/actnrm' is not one of ['glow/rescale', 'glow/actnorm'" in done.stdout
    assert not [path for path in SPECS if str(path) in done.stdout]


def test_every_field_says_what_it_is_for(installed: dict[str, Any]) -> None:
    for name, definition in {"a spec": installed, **installed["definitions"]}.items():
        for field, schema in definition.get("properties", {}).items():
            assert schema.get("description"), f"{field} of {name}"


def test_every_field_says_its_default(schema: dict[str, Any]) -> None:
    for name in ("toy.scale", "toy.affine", "toy.net", "Train", "Optimizer"):
        fields = schema["definitions"][name]["properties"]
        assert all("default" in field for key, field in fields.items() if key != "use"), name
    assert schema["definitions"]["toy.scale"]["properties"]["factor"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 2.0,
        "description": "What x is multiplied with.",
    }


def test_a_default_that_depends_on_the_event_may_be_null(installed: dict[str, Any]) -> None:
    fields = installed["definitions"]["glow.rescale"]["properties"]
    assert fields["low"]["default"] == 0 and "default" not in fields["high"]
    spec = {"flowkit": 1, "event": {"shape": [2], "levels": 256}, "flow": [{"use": "glow/rescale", "high": None}]}
    assert read_spec(spec).flow[0].config.high == 256
    assert list(Draft7Validator(installed).iter_errors(spec)) == []


def test_names_are_completed_with_what_they_mean(schema: dict[str, Any]) -> None:
    use = schema["definitions"]["transformer"]["properties"]["use"]
    assert (use["enum"], use["enumDescriptions"]) == (["toy/affine"], ["y = s x + b."])
    assert schema["definitions"]["toy.scale"]["description"] == "y = factor x."


def test_references_lead_somewhere_and_stand_alone(schema: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            assert "$ref" not in part or len(part) == 1  # draft-07 reads nothing beside a $ref
            found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return found.union(*map(references, part.values()))
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    assert references(schema) <= {f"#/definitions/{name}" for name in schema["definitions"]}


def test_without_plugins_no_step_fits() -> None:
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale"}]}
    empty = json_schema(Registry())
    Draft7Validator.check_schema(empty)
    assert not Draft7Validator(empty).is_valid(spec)
