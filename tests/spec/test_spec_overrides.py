from __future__ import annotations

from typing import Any

import pytest

from flowkit.errors import SpecError, format_path
from flowkit.plugin import Registry
from flowkit.spec import read_spec, to_yaml
from flowkit.spec.document import MAX_DEPTH

SETS: list[tuple[str, str, Any]] = [
    ("train.epochs=7", "train.epochs", 7),
    ("train.optimizer.name=sgd", "train.optimizer.name", "sgd"),
    ("train={seed: 4}", "train.seed", 4),
    ("train.clip_norm=null", "train.clip_norm", None),
    ("context=null", "context", None),
    ("event.shape=[4, 4, 4]", "event.shape", (4, 4, 4)),
    ("flow[0].repeat=1", "flow.0.repeat", 1),
    ("flow[0].flow[1].flow[0].conditioner.hidden=5", "flow.0.flow.1.flow.0.conditioner.config.hidden", 5),
    ("flow[1]={use: toy/scale, note: 'a=b'}", "flow.1.config.note", "a=b"),
]


@pytest.mark.parametrize(("text", "path", "value"), SETS)
def test_override(text: str, path: str, value: Any, good: str, registry: Registry) -> None:
    found: Any = read_spec(good, [text], registry)
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value


def test_a_section_that_is_not_there_is_made(registry: Registry) -> None:
    text = (
        "flowkit: 1\nevent: {shape: [2]}\nflow: [{coupling: {use: toy/affine}, conditioner: {use: toy/net}}]\ntrain:\n"
    )
    spec = read_spec(text, ["train.optimizer.lr=1", "context.classes=3"], registry)
    assert spec.train.optimizer.lr == 1 and spec.context is not None and spec.context.classes == 3


def test_later_overrides_win(good: str, registry: Registry) -> None:
    assert read_spec(good, ["train.epochs=7", "train={}"], registry).train.epochs == 10
    assert read_spec(good, ["train={}", "train.epochs=7"], registry).train.epochs == 7


MISTAKES = {
    "no value": ("train.epochs", 1, "", "must read path=value"),
    "no path": ("=3", 1, "", "must read path=value"),
    "path that is none": ("train..epochs=3", 1, "", "must read path=value"),
    "empty value": ("train.epochs=", 13, "", "write null for none"),
    "broken value": ("train={a: 1", 7, "", "never closed"),
    "alias": ("train=*x", 7, "", "aliases"),
    "unknown field": ("train.epocs=3", 7, "train.epocs", "unknown field 'epocs'"),
    "unknown section": ("trian.epochs=3", 1, "trian", "unknown field 'trian'"),
    "bad value": ("train.epochs=many", 14, "train.epochs", "whole number, not 'many'"),
    "bad value inside": ("train={seed: 1, epochs: many}", 25, "train.epochs", "whole number, not 'many'"),
    "no such entry": ("flow[9].use=x", 5, "flow", "has 2 entries, counted from 0: there is no [9]"),
    "no list": ("train[0]=3", 6, "train", "is not a list"),
    "no list, and not there": ("flow[1].flow[0].use=x", 13, "flow[1].flow", "is not a list: it has no [0]"),
    "no mapping": ("flow.use=3", 6, "flow", "is not a mapping"),
    "through a number": ("train.epochs.x=3", 14, "train.epochs", "is not a mapping"),
    "deep": ("a." * MAX_DEPTH + "a=1", 1, "", "levels deep"),
    "deep value": ("train.seed=" + "[" * MAX_DEPTH + "]" * MAX_DEPTH, 1, "", "levels deep"),
}


@pytest.mark.parametrize(("text", "column", "path", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(text: str, column: int, path: str, words: str, good: str, registry: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(good, [text], registry)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column, problem.source) == ("--set", 1, column, text)
    assert format_path(problem.path) == path
    assert words in problem.message


def test_problems_of_overrides_follow_those_of_the_text(good: str, registry: Registry) -> None:
    overrides = ["nonsense", "train.ema=x", "train.seed=y"]
    with pytest.raises(SpecError) as caught:
        read_spec(good.replace("epochs: 3", "epochs: 0"), overrides, registry)
    found = [problem.source for problem in caught.value.problems]
    assert found[1:] == ["nonsense", "train.ema=x", "train.seed=y"]
    assert caught.value.problems[0].file == "<spec>"


def test_a_replaced_part_forgets_its_old_places(registry: Registry) -> None:
    step = "{coupling: {use: toy/affine}, conditioner: {use: toy/net}"
    text = f"flowkit: 1\nevent: {{shape: [2]}}\nflow: [{step}, split: {{use: toy/x}}}}]\n"
    without_the_default_split = Registry({name: registry.entries[name] for name in ("toy", "base")})
    with pytest.raises(SpecError) as caught:
        read_spec(text, [f"flow[0]={step}}}"], without_the_default_split)
    (problem,) = caught.value.problems
    assert (problem.path, problem.file) == (("flow", 0, "split", "use"), "--set")


def test_shapes_are_those_after_the_overrides(good: str, registry: Registry) -> None:
    with pytest.raises(SpecError, match="even sides") as caught:
        read_spec(good, ["event.shape=[2, 6, 6]"], registry)
    assert caught.value.problems[0].line == 14
    assert to_yaml(read_spec(good, ["event.shape=[2, 8, 8]"], registry))
