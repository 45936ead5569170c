"""Whatever a text says, nothing but SpecError comes out."""

from __future__ import annotations

import time

import pytest

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from flowkit.spec.messages import MAX_PROBLEMS
from flowkit.spec.walk import MAX_LAYERS, walk

VALUES = [
    "null", "true", "-1", "0", "1.5", ".nan", "-.inf", "1e999", "9" * 90, "9" * 9000, f"0x{'f' * 90}",
    "''", "[]", "{}", "[[[]]]", "- - -", "[" * 70, "{a: " * 70, "|\n x", ">", "!x 1", "&a 1", "*a",
    "{use: toy/scale}", "{use: toy/affine}", "{use: broken/x}", "{use: {}}", "glow/channels", "2024-01-31",
    r"'\ud800'", r'"\ud800"', r'"\x00"', "\u2028", "𝛼",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_any_value_in_an_override(value: str, good: str, registry: Registry) -> None:
    for path in (
        "event.shape",
        "flow[0]",
        "flow[0].flow[0].use",
        "train",
        "data.path",
        "flow",
        "base",
        "flowkit",
    ):
        try:
            read_spec(good, [f"{path}={value}"], registry)
        except SpecError as error:
            assert error.problems


def test_the_most_layers_are_walked_in_no_time(registry: Registry) -> None:
    repeats = "{repeat: 64, flow: [{repeat: 64, flow: [{use: toy/scale}]}]}"
    spec = read_spec(f"{{flowkit: 1, event: {{shape: [2]}}, flow: [{repeats}]}}", registry=registry)
    start = time.process_time()
    assert len(walk(spec)) == MAX_LAYERS
    assert time.process_time() - start < 1


def test_problems_that_are_too_many_are_counted(registry: Registry) -> None:
    fields = "\n".join(f"k{i}: 1" for i in range(MAX_PROBLEMS + 7))
    with pytest.raises(SpecError) as caught:
        read_spec(f"flowkit: 1\nevent: {{shape: [2]}}\nflow: [{{use: toy/scale}}]\n{fields}", ["a=1"], registry)
    assert [problem.path for problem in caught.value.problems] == [(f"k{i}",) for i in range(MAX_PROBLEMS)]
    assert str(caught.value).endswith("\n… and 8 more problems")
