"""The space of a sweep: what it says, and where in the file it is mistaken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowkit.errors import SpecError
from flowkit.spec import Spec, read_spec
from flowkit.sweep.space import Choices, Span, read_space

SPEC = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [
        {"use": "glow/actnorm"},
        {"repeat": 1, "flow": [{"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}}]},
    ],
}


@pytest.fixture
def spec() -> Spec:
    return read_spec(SPEC)


def test_a_space(tmp_path: Path, spec: Spec) -> None:
    text = """\
train.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
flow[1].flow[0].conditioner.hidden:
  low: 4
  high: 16
train.ema: {choices: [null, 0.99]}
flow[0]: {choices: [{use: glow/actnorm}, {use: glow/householder, reflections: 2}]}
train.warmup: {low: 0, high: 10}
train.optimizer.weight_decay: {low: 0.0, high: 1.0}
train.clip_norm: {low: 1, high: 1000}
flow[1].flow[0].conditioner.dropout: {low: 0, high: 50}
"""
    (tmp_path / "space.yaml").write_text(text)
    assert read_space(tmp_path / "space.yaml", spec) == {
        "train.optimizer.lr": Span(1e-4, 1e-2, True, whole=False),
        "flow[1].flow[0].conditioner.hidden": Span(4, 16, False, whole=True),
        "train.ema": Choices(("null", "0.99")),
        "flow[0]": Choices(("{use: glow/actnorm}", "{use: glow/householder, reflections: 2}")),
        "train.warmup": Span(0, 10, False, whole=True),
        "train.optimizer.weight_decay": Span(0, 1, False, whole=False),
        "train.clip_norm": Span(1, 1000, False, whole=False),
        "flow[1].flow[0].conditioner.dropout": Span(0, 50, False, whole=False),
    }


MISTAKES = {
    "": " a space is a mapping of fields",
    "- a": "1:1: a space is a mapping of fields",
    "a: [": "1:4: the bracket that opens here is never closed",
    "a b: {choices: [1]}": "1:1: a b: 'a b' is no path of a field",
    "train.epochs: 3": "1:15: train.epochs: must say which values the field takes",
    "train.epochs: {choices: [1], low: 1}": "1:15: train.epochs: must say which",
    "train.epochs: {low: 1}": "1:15: train.epochs: field 'high' is missing",
    "train.epochs: {low: 1, high: 2, step: 1}": "1:33: train.epochs.step: unknown field 'step'",
    "train.epochs: {low: 5, high: 5}": "1:30: train.epochs.high: must be greater than low: 5, not 5",
    "train.epochs: {low: a, high: 5}": "1:21: train.epochs.low: must be a finite number, not a",
    "train.epochs: {low: 1, high: .inf}": "1:30: train.epochs.high: must be a finite number",
    "train.optimizer.lr: {low: 0, high: 1, log: true}": "1:27: train.optimizer.lr.low: must be greater than 0",
    "train.optimizer.lr: {low: 1, high: 2, log: 3}": "1:44: train.optimizer.lr.log: must be true or false, not 3",
    "train.schedule: {choices: []}": "1:27: train.schedule.choices: must be a list of at least one",
    "train.optimizer.lr: {low: 1, high: 2}\ntrain.optimizer: {choices: [{lr: 1}]}": (
        "2:1: train.optimizer: replaces the value of train.optimizer.lr: put it above that one"
    ),
    "train.schedule: {choices: [cosine, cosine]}": "1:36: train.schedule.choices[1]: cosine stands here twice",
    "train.optimizer.lrr: {low: 0.1, high: 1}": "1:1: train.optimizer.lrr: the spec takes none of these values: "
    "train.optimizer.lrr=0.1 unknown field 'lrr'",
    "train.epochs: {low: 0.5, high: 1.5}": "1:1: train.epochs: the spec takes none .* must be a whole number",
    "train.batch_size: {low: 16, high: 100.5}": "1:35: train.batch_size.high: must be a whole number, as .*, not 100.5",
    "flow[7].use: {choices: [glow/flip]}": r"1:1: flow\[7\].use: the spec takes none .* there is no \[7\]",
    "train.schedule: {choices: [cosinus, linear]}": "1:1: train.schedule: the spec takes none .*'cosine'",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_located(tmp_path: Path, spec: Spec, text: str, message: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        read_space(tmp_path / "space.yaml", spec)
    (problem,) = [" ".join(str(each).split("\n")[0].split()) for each in caught.value.problems]
    assert re.search(f"space.yaml:{message.replace('[1]', '.1.')}", problem), problem


def test_all_mistakes_are_shown_in_their_order(tmp_path: Path, spec: Spec) -> None:
    (tmp_path / "space.yaml").write_text("train.x: {choices: [1]}\ntrain.epochs: 3\nb c: 1\n")
    with pytest.raises(SpecError) as caught:
        read_space(tmp_path / "space.yaml", spec)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]


def test_a_value_that_the_spec_takes_only_sometimes_is_no_mistake(tmp_path: Path, spec: Spec) -> None:
    (tmp_path / "space.yaml").write_text("train.batch_size: {low: 0, high: 9}\n")
    assert list(read_space(tmp_path / "space.yaml", spec)) == ["train.batch_size"]
