"""Whatever a text says, nothing but SpecError comes out."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import pytest

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import Spec, read_spec
from flowkit.spec.messages import MAX_PROBLEMS
from flowkit.spec.walk import MAX_LAYERS, walk

VALUES = [
    "null", "true", "-1", "0", "1.5", ".nan", "-.inf", "1e999", "9" * 90, "9" * 9000, f"0x{'f' * 90}",
    "''", "[]", "{}", "[[[]]]", "- - -", "[" * 70, "{a: " * 70, "|\n x", ">", "!x 1", "&a 1", "*a",
    "{use: toy/scale}", "{use: toy/affine}", "{use: broken/x}", "{use: {}}", "glow/channels", "2024-01-31",
    r"'\ud800'", r'"\ud800"', r'"\x00"', "\u2028", "𝛼",
]  # fmt: skip


def delete(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.randint(1, 8) :]


def insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice([*"\t\0\x1b:-[]{},&*!|>'\"%@`#? \n\r\u0085\ufeff", "\ud800", *VALUES]) + text[at:]


def swap_value(text: str, rng: random.Random) -> str:
    match = rng.choice(list(re.finditer(r"(?<=[:\[] )[^\s,}\]]+|\[[^]]*\]|\{[^}]*\}", text)))
    return text[: match.start()] + rng.choice(VALUES) + text[match.end() :]


def move_line(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines)), " " * rng.randint(0, 3) + line)
    return "".join(lines)


MUTATIONS: list[Callable[[str, random.Random], str]] = [delete, insert, swap_value, move_line]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutated_specs(mutation: Callable[[str, random.Random], str], good: str, registry: Registry) -> None:
    rng = random.Random(f"{mutation.__name__} 1")
    refused = 0
    for _ in range(100):
        text = good
        for _ in range(rng.randint(1, 3)):
            text = mutation(text, rng)
        try:
            assert isinstance(read_spec(text + "\n", registry=registry), Spec)
        except SpecError as error:
            refused += 1
            assert error.problems and str(error).encode("utf-8", "backslashreplace")
    assert refused > 50


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
