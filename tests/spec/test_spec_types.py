"""Numbers, truths and texts are told apart, in flowkit's own sections and in the fields of any plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from flowkit.errors import SpecError, format_path
from flowkit.plugin import BijectorConfig, Registry, Use
from flowkit.spec import Spec, Train, read_spec


def read(fields: str, registry: Registry) -> Any:
    """The config of a plugin with these fields."""
    spec = read_spec(f"{{flowkit: 1, event: {{shape: [2]}}, flow: [{{use: toy/typed, {fields}}}]}}", registry=registry)
    assert isinstance(spec.flow[0], Use)
    return spec.flow[0].config


GOOD = [
    ("whole: 3", 3),
    ("whole: 3.0", 3),
    ("whole: 1e3", 1000),
    ("whole: -0.0", 0),
    ("number: 3", 3.0),
    ("number: 0.5", 0.5),
    ("number: 1e300", 1e300),
    ("number: 99999999999999999999", 1e20),
    ("truth: true", True),
    ("text: '3'", "3"),
    ("text: on", "on"),
    ("path: a/b", Path("a/b")),
    ("pair: [1, 2.5]", (1.0, 2.5)),
    ("wholes: [1, 2.0]", [1, 2]),
    ("names: [a, b]", frozenset("ab")),
    ("counts: {a: 1}", {"a": 1}),
    ("choice: 1", 1),
    ("choice: 2.0", 2),
    ("either: 1", 1),
    ("either: auto", "auto"),
    ("both: 1.0", 1),
    ("maybe: null", None),
    ("sides: 3", (3,)),
    ("sides: [3, 4]", (3, 4)),
]


@pytest.mark.parametrize(("fields", "value"), GOOD)
def test_what_is_accepted(fields: str, value: Any, registry: Registry) -> None:
    found = getattr(read(fields, registry), fields.partition(":")[0])
    assert found == value and type(found) is type(value)


ITSELF = "write the number itself, without a unit: nothing in a spec is computed"
DISC = "delete side, or take one of the fields here: kind, radius"
INSTALLED = "transformers installed: toy/affine"
BAD = [
    ("whole: '3'", "whole", "must be a whole number, not '3'", "remove the quotes"),
    ("whole: true", "whole", "must be a whole number, not true", None),
    ("whole: 2.5", "whole", "must be a whole number, not 2.5", None),
    ("whole: 1e300", "whole", "must be a whole number, not 1e+300", None),
    ("whole: 1_000", "whole", "must be a whole number, not '1_000'", "write 1000"),
    ("whole: 0b11", "whole", "must be a whole number, not '0b11'", ITSELF),
    ("number: '0.001'", "number", "must be a number, not '0.001'", "remove the quotes"),
    ("number: 0_1.5", "number", "must be a number, not '0_1.5'", "write 01.5"),
    ("number: false", "number", "must be a number, not false", None),
    ("number: NaN", "number", "must be a number, not 'NaN'", None),
    ("number: .nan", "number", "must be a finite number, not nan", None),
    ("truth: 1", "truth", "must be true or false, not 1", None),
    ("truth: 'true'", "truth", "must be true or false, not 'true'", "write true, without quotes"),
    ("truth: off", "truth", "must be true or false, not 'off'", "write false, without quotes"),
    ("text: 3", "text", "must be text, not 3", "put it in quotes"),
    ("path: 3", "path", "must be text, not 3", None),
    ("pair: ['1', 2]", "pair[0]", "must be a number, not '1'", "remove the quotes"),
    ("pair: [1]", "pair", "must have 2 entries, not 1", None),
    ("pair: []", "pair", "must have 2 entries, not 0", None),
    ("wholes: [1, true]", "wholes[1]", "must be a whole number, not true", None),
    ("names: [1]", "names[0]", "must be text, not 1", "put it in quotes"),
    ("names: a", "names", "must be a list, not 'a'", None),
    ("counts: {a: '1'}", "counts.a", "must be a whole number, not '1'", "remove the quotes"),
    ("choice: true", "choice", "must be 0, 1 or 2, not true", None),
    ("choice: '1'", "choice", "must be 0, 1 or 2, not '1'", "remove the quotes"),
    ("either: '1'", "either", "must be a whole number or 'auto', not '1'", "remove the quotes"),
    ("both: '1'", "both", "must be a whole number or a number, not '1'", "remove the quotes"),
    ("maybe: '1'", "maybe", "must be a whole number, not '1'", "remove the quotes"),
    ("maybe: none", "maybe", "must be a whole number, not 'none'", "write null for none"),
    ("part: {n: '1'}", "part.n", "must be a whole number, not '1'", "remove the quotes"),
    ("part: {m: 1}", "part.m", "unknown field 'm'", "delete m, or take one of the fields here: n"),
    ("parts: [{n: '1'}]", "parts[0].n", "must be a whole number, not '1'", "remove the quotes"),
    ("by: {a: {m: 1}}", "by.a.m", "unknown field 'm'", "delete m, or take one of the fields here: n"),
    ("region: {kind: disc, side: 2}", "region.side", "unknown field 'side'", DISC),
    ("region: {kind: box}", "region", "'kind' must be one of 'disc', 'square', not 'box'", None),
    ("region: {side: 2}", "region", "field 'kind' is missing", None),
    ("region: 2", "region", "must be a mapping, not 2", None),
    ("typed: {x: 1}", "typed.x", "unknown field 'x'", "delete x"),
    ("class: 1", "class", "unknown field 'class'", "did you mean class_?"),
    ("maps: [{use: toy/net}]", "maps[0].use", "toy/net is a conditioner, not a transformer", INSTALLED),
    ("sides: ['3']", "sides[0]", "must be a whole number, not '3'", "remove the quotes"),
]


@pytest.mark.parametrize(("fields", "path", "message", "suggestion"), BAD)
def test_what_is_refused(fields: str, path: str, message: str, suggestion: str | None, registry: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        read(fields, registry)
    (problem,) = caught.value.problems
    assert format_path(problem.path) == f"flow[0].{path}"
    assert (problem.message, problem.suggestion) == (message, suggestion)


CORE = [
    ("event.levels='256'", "must be a whole number, not '256'"),
    ("event.shape=['2']", "must be a whole number, not '2'"),
    ("event.shape=[true]", "must be a whole number, not true"),
    ("context.classes=true", "must be a whole number, not true"),
    ("flow[0].repeat='2'", "must be a whole number, not '2'"),
    ("train.epochs='3'", "must be a whole number, not '3'"),
    ("train.epochs=true", "must be a whole number, not true"),
    ("train.epochs=2.5", "must be a whole number, not 2.5"),
    ("train.optimizer.lr='0.001'", "must be a number, not '0.001'"),
    ("train.ema='0.9'", "must be a number, not '0.9'"),
    ("train.seed=null", "must be a whole number, not null"),
]


@pytest.mark.parametrize(("override", "message"), CORE)
def test_the_sections_of_a_spec_and_overrides(override: str, message: str, registry: Registry, good: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(good.replace("[2, 4, 4]", "[2, 64, 64]"), [override], registry)
    (problem,) = caught.value.problems
    assert (problem.file, problem.message) == ("--set", message)


def test_specs_made_in_python(registry: Registry) -> None:
    plugin = read_spec("{flowkit: 1, event: {shape: [2]}, flow: [{use: toy/scale}]}", registry=registry).flow[0]
    fields = {"path": Path("x"), "pair": (1, 2), "sides": (1, 2), "whole": 3.0, "names": frozenset("a")}
    spec = read_spec(
        {
            "flowkit": 1,
            "event": {"shape": (2,)},
            "flow": (plugin, {"use": "toy/typed", **fields}),
            "train": Train(epochs=3),
        },
        registry=registry,
    )
    assert isinstance(spec.flow[1], Use)
    config: Any = spec.flow[1].config
    assert (config.path, config.pair, config.sides, config.whole) == (Path("x"), (1, 2), (1, 2), 3)
    assert (spec.flow[0], spec.train.epochs) == (plugin, 3)
    numbers = {"epochs": np.int64(3), "minutes": np.float32(0.5)}
    train = read_spec(
        {"flowkit": 1, "event": {"shape": [2]}, "flow": [plugin], "train": numbers}, registry=registry
    ).train
    assert (train.epochs, train.minutes) == (3, 0.5) and type(train.epochs) is int


def test_a_model_with_rules_of_its_own_cannot_be_a_field() -> None:
    class Lax(BaseModel):
        n: int

    with pytest.raises(TypeError, match=r"Config.parts: derive Lax from flowkit.plugin.PluginConfig"):

        class Config(BijectorConfig):
            parts: list[Lax] | None = None


JSON = """{
\t"flowkit": 1,
\t"event": {"shape": [2]},
\t"flow": [
\t\t{"use": "toy/typed", "text": "\\uD83D\\uDE00 \\/ \\u00e9", "number": 1E2, "whole": -3},
\t\t{"use": "toy/scale"}
\t]
}"""


@pytest.mark.parametrize("layout", [str, lambda text: json.dumps(json.loads(text)), lambda text: f"\ufeff{text}\r\n"])
def test_json(layout: Any, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(layout(JSON), encoding="utf-8")
    spec = read_spec(tmp_path / "a.json", registry=registry)
    assert isinstance(spec, Spec) and isinstance(spec.flow[0], Use)
    config: Any = spec.flow[0].config
    assert (config.text, config.number, config.whole) == ("😀 / é", 100.0, -3)


MISTAKES = [
    ('{"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scael"}]}', 58, "there is no bijector"),
    ('{"flowkit": 1, "event": {"shape": [2]}, "event": 3}', 41, "twice, first in column"),
    ('{"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale", "factor": NaN}]}', 81, "not 'NaN'"),
    ('{"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale"', 50, "the bracket that opens here"),
    ('{"flowkit": 1 "event": {"shape": [2]}}', 22, "expected a comma or } here"),
]


@pytest.mark.parametrize(("text", "column", "words"), MISTAKES)
@pytest.mark.parametrize("before", ["", "\t\t"])
def test_mistakes_in_json(text: str, column: int, words: str, before: str, registry: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(before + text, registry=registry)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (1, column + len(before))
    assert words in problem.message
