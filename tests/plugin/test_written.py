"""What fields are written as in a run's spec, and read from again."""

from __future__ import annotations

import datetime
import enum
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import Field, SecretStr, ValidationInfo, field_validator

import flowkit
from flowkit.errors import SpecError
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig, PluginConfig, TransformerRef
from flowkit.spec import read_spec
from tests.plugin import mine


class Side(enum.Enum):
    LEFT = "left"


class Point(NamedTuple):
    x: float = 1.0
    y: float = 2.0


class Cat(PluginConfig):
    kind: Literal["cat"] = "cat"


class Dog(PluginConfig):
    kind: Literal["dog"] = "dog"
    good: bool = True


class Thing(mine.Scale):
    def __init__(self, event_shape: Any, thing: Any) -> None:
        super().__init__(event_shape)
        self.thing = thing


def spec_with(annotation: Any, default: Any, **methods: Any) -> flowkit.Spec:
    fields = {"__annotations__": {"thing": annotation}, "thing": default, "__module__": __name__, **methods}
    flowkit.register("mine/thing", type("ThingConfig", (BijectorConfig,), fields), Thing)
    return read_spec("flowkit: 1\nevent: {shape: [3]}\nflow: [{use: mine/thing}]\n")


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (dict[int, float], {1: 2.0}),
        (dict[float, int], {0.5: 2}),
        (dict[bool, int], {True: 2}),
        (dict[Side, int], {Side.LEFT: 2}),
        (dict[datetime.date, int], {datetime.date(2020, 1, 2): 2}),
        (datetime.datetime, datetime.datetime(2020, 1, 2, 3, 4)),
        (frozenset[Side], frozenset([Side.LEFT])),
        (Point, Point()),
        (Cat | Dog, Dog()),
        (TransformerRef | None, None),
        (TransformerRef, Field(default={"use": "glow/affine"}, validate_default=True)),
    ],
)
def test_it_is_read_from_what_is_written(annotation: Any, default: Any) -> None:
    spec = spec_with(annotation, default)
    assert read_spec(str(spec)) == spec
    assert Flow(list(Flow.from_spec(spec).layers)).to_spec().flow == spec.flow


def test_keys_of_a_mapping_are_text_that_may_say_a_number() -> None:
    spec_with(dict[int, float], {})
    spec = read_spec('flowkit: 1\nevent: {shape: [3]}\nflow: [{use: mine/thing, thing: {"1": 2.5}}]\n')
    assert spec.flow[0].config.thing == {1: 2.5}


def one_more(cls: type, value: int, info: ValidationInfo) -> int:
    return value + 1


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (Any, print, "thing is <built-in function print>: take a type that pydantic writes as JSON"),
        (Cat, {"kind": "cat"}, r"thing is {'kind': 'cat'}: a default .* must be read: Field\(default=…, validate_def"),
        (TransformerRef, {"use": "glow/affine"}, r"thing is {'use': 'glow/affine'}: a default .* must be read: Field"),
        (int, Field(default=0, ge=1), "thing is written as 0, which can't be read: Input should be greater than or"),
        (dict[tuple[int, int], int], {(1, 2): 3}, r'thing is written as {"1,2": 3}, which can\'t be read'),
    ],
)
def test_fields_that_a_run_could_not_give_back_are_refused(annotation: Any, default: Any, words: str) -> None:
    with pytest.raises(SpecError, match=rf"plugin mine/thing \(.*\) can't write its fields into a spec: {words}"):
        spec_with(annotation, default)


def test_a_validator_that_changes_what_it_returned_is_refused() -> None:
    with pytest.raises(SpecError, match="thing is written as 1, and what reads that makes it 2"):
        spec_with(int, 1, again=field_validator("thing")(one_more))


def test_secrets_are_refused() -> None:
    with pytest.raises(TypeError, match=r"ThingConfig\.thing: a spec holds no secrets: read an environment variable"):
        spec_with(SecretStr, SecretStr("x"))
