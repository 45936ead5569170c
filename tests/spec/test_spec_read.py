"""Specs with mistakes: each is found, at its place, in words that help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mistakes import check

from flowkit.errors import Problem, SpecError, format_path
from flowkit.plugin import Registry
from flowkit.spec import CouplingSpec, Spec, read_spec

HEAD = "flowkit: 1\nevent: {shape: [2, 4, 4]}\n"
FLOW = "flow: [{use: toy/scale}]\n"


def problems(text: str, registry: Registry, *overrides: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        read_spec(text, overrides, registry)
    return caught.value.problems


def test_a_good_spec(good: str, registry: Registry) -> None:
    spec = read_spec(good, registry=registry)
    assert spec.event.shape == (2, 4, 4)
    assert spec.train.epochs == 3
    assert spec.train.optimizer.lr == 0.001
    assert spec.train.ema is None
    assert spec.base.name == "base/standard_normal"


# Part of a spec, ¦ before the mistake. Its path, words of the message. Perhaps words of the suggestion.
MISTAKES = r"""
flowkit: ¦2
=> flowkit: is version 2; this flowkit (0.1.0) reads version 1 of the spec language
=> update flowkit

flowkit: ¦99999999999999999999
=> flowkit: is version 99999999999999999999; this flowkit
=> update flowkit

flowkit: ¦'1'
=> flowkit: must be 1, not '1': this flowkit (0.1.0) reads version 1
=> write flowkit: 1

flowkit: ¦0
=> flowkit: must be 1, not 0

flowkit: ¦true
=> flowkit: must be 1, not true

flowkit: ¦1.5
=> flowkit: must be 1, not 1.5

event: ¦{levels: 2}
=> event: 'shape' is missing: [d] for vectors

event: ¦[1]
=> event: must be a mapping, not a list

¦event:
=> event: must be a mapping, not null

event: {shape: ¦[1, 2]}
=> event.shape: must be [d]

event: {shape: [¦x]}
=> event.shape[0]: must be a whole number, not 'x'

event: {shape: [¦0]}
=> event.shape[0]: must be greater than 0, not 0

event: {shape: ¦[99999999999999999999999]}
=> event.shape: more than 16,777,216 values

event: {shape: [1], levels: ¦1}
=> event.levels: must be at least 2, not 1

event: {shape: [1], levels: ¦99999}
=> event.levels: must be at most 65536, not 99999

context: ¦{classes: 2, shape: [1]}
=> context: exactly one of classes and shape

¦trian: {}
=> trian: unknown field 'trian'
=> did you mean train?

train:
  ¦epocs: 3
=> train.epocs: unknown field 'epocs'
=> did you mean epochs?

train: {optimizer: {¦zzz: 3}}
=> train.optimizer.zzz: unknown field 'zzz'
=> fields here: name, lr, weight_decay

train: {epochs: ¦2.5}
=> train.epochs: must be a whole number, not 2.5

train: {epochs: ¦many}
=> train.epochs: must be a whole number, not 'many'

train: {clip_norm: ¦.nan}
=> train.clip_norm: must be a finite number, not nan

train: {clip_norm: ¦.inf}
=> train.clip_norm: must be a finite number, not inf

train: {clip_norm: ¦1e999}
=> train.clip_norm: must be a finite number, not inf

train: {ema: ¦1}
=> train.ema: must be less than 1, not 1

train: {seed: ¦null}
=> train.seed: must be a whole number, not null

train: {schedule: ¦cosin}
=> train.schedule: must be 'constant' or 'cosine', not 'cosin'
=> did you mean cosine?

flow: ¦[]
=> flow: must have 1 or more entries, not 0

flow:
  - ¦cuopling: {use: toy/affine}
=> flow[0]: exactly one of the keys use, repeat, coupling
=> did you mean coupling?

flow: [{repeat: ¦0, flow: [{use: toy/scale}]}]
=> flow[0].repeat: must be greater than 0

flow: [{use: ¦toy/scael}]
=> flow[0].use: there is no bijector 'toy/scael'
=> did you mean toy/scale

flow: [{use: ¦toi/scale}]
=> flow[0].use: no plugin namespace 'toi'
=> did you mean toy/scale?

flow: [{use: ¦scale}]
=> flow[0].use: 'scale' is not a plugin name
=> did you mean toy/scale?

flow: [{use: ¦os.path}]
=> flow[0].use: write namespace/name
=> bijectors installed:

flow: [{use: ¦toy/affine}]
=> flow[0].use: toy/affine is a transformer, not a bijector

flow: [¦{use: broken/x}]
=> flow[0]: ModuleNotFoundError

flow: [¦{use: 3}]
=> flow[0]: must name a bijector: {use: namespace/name}

flow: [{use: toy/scale, ¦facto: 2}]
=> flow[0].facto: unknown field 'facto'
=> did you mean factor?

flow: [{use: toy/squeeze, ¦zzz: 2}]
=> flow[0].zzz: unknown field
=> fields here: use

data: ¦{use: toy/points}
=> data: field 'path' is missing: Where they are

flow: [{use: toy/scale, factor: ¦-1}]
=> flow[0].factor: must be greater than 0, not -1

flow: [{use: toy/scale, even: ¦3}]
=> flow[0].even: must be a multiple of 2, not 3

flow: [{use: toy/scale, bias: ¦3}]
=> flow[0].bias: must be true or false, not 3

flow: [{use: toy/scale, note: ¦3}]
=> flow[0].note: must be text, not 3

flow: [{use: toy/elementwise, map: {use: toy/affine, ¦scal: 1}}]
=> flow[0].map.scal: unknown field 'scal'
=> did you mean scale?

flow: [{use: toy/elementwise, map: {use: toy/affine, scale: ¦1}}]
=> flow[0].map.scale: must be a list or 'sigmoid', not 1

flow: [{use: toy/elementwise, map: {use: toy/affine, scale: [¦a, 2]}}]
=> flow[0].map.scale[0]: must be a number, not 'a'

flow: [{use: toy/elementwise, map: {use: toy/affine, scale: ¦[1]}}]
=> flow[0].map.scale: must have 2 entries, not 1

flow: [{use: toy/elementwise, map: {use: toy/affine, scale: ¦[2, 1]}}]
=> flow[0].map.scale: needs lo < hi

flow:
  - coupling: {use: toy/affine}
    conditioner: {use: toy/net, widths: ¦[1, 2, 3]}
=> flow[0].conditioner.widths: at most 2 entries, not 3

flow: [{elementwise: {use: toy/affine, ¦scal: 1}}]
=> flow[0].elementwise.scal: unknown field 'scal'
=> did you mean scale?

flow: [{elementwise: {use: ¦toy/scale}}]
=> flow[0].elementwise.use: toy/scale is a bijector, not a transformer

flow: [¦{elementwise: {use: toy/affine}, conditioner: {use: toy/net}}]
=> flow[0]: elementwise toy/affine requires a context, and this spec has none
=> or leave conditioner out

flow: [¦{elementwise: {use: toy/affine}, coupling: {use: toy/affine}}]
=> flow[0]: has both coupling and elementwise: a step has exactly one of the keys

flow:
  - ¦elementwize: {use: toy/affine}
=> flow[0]: exactly one of the keys use, repeat, coupling, elementwise, autoregressive, factor_out
=> did you mean elementwise?

flow: [{factor_out: ¦rows}]
=> flow[0].factor_out: must be 'channels', not 'rows'

flow:
  - repeat: 3
    flow:
      - ¦use: toy/squeeze
=> flow[0].flow[0]: needs even sides ([32, 1, 1] reaches it in repeat 3 of 3)
=> [32, 1, 1] is what toy/squeeze at flow[0].flow[0] made of [8, 2, 2]

event: {shape: [2, 2, 2]}
flow:
  - repeat: 2
    flow:
      - use: toy/scale
      - repeat: 2
        flow: [¦{use: toy/squeeze}, {use: toy/scale}]
=> flow[0].flow[1].flow[0]: ([8, 1, 1] reaches it in repeat 1 of 2 of flow[0], repeat 2 of 2 of flow[0].flow[1])
=> [8, 1, 1] is what toy/squeeze at flow[0].flow[1].flow[0] made of [2, 2, 2]

event: {shape: [2, 3, 3]}
flow: [{use: toy/scale}, ¦{use: toy/squeeze}]
=> flow[1]: ([2, 3, 3] reaches it)
=> [2, 3, 3] is the shape of the event

event: {shape: [1]}
flow: [¦{factor_out: channels}]
=> flow[0]: there is only one

flow: [{repeat: 64, flow: [{repeat: ¦4097, flow: [{use: toy/scale}]}]}]
=> flow[0].flow[0].repeat: 4,097 times 1 layers are too many: the most is 4,096

flow: [{repeat: ¦999999999999999999, flow: [{repeat: 64, flow: [{use: toy/scale}]}]}]
=> flow[0].repeat: over a billion times 64 layers are too many

flow: ¦[{repeat: 4096, flow: [{use: toy/scale}]}, {use: toy/scale}]
=> flow: has 4,097 layers, repeats expanded: the most is 4,096

flow: [{repeat: 2, flow: ¦[{repeat: 4096, flow: [{use: toy/scale}]}, {use: toy/scale}]}]
=> flow[0].flow: has 4,097 layers

flow: [¦{use: toy/buggy, fail: true}]
=> flow[0]: fails to read its fields: KeyError

flow: [¦{use: toy/buggy}]
=> flow[0]: plugin toy/buggy (this process): its shape rule fails on [2, 4, 4]: IndexError
"""


@pytest.mark.parametrize("block", MISTAKES.strip().split("\n\n"))
def test_mistakes(block: str, registry: Registry) -> None:
    check(block, registry)


@pytest.mark.parametrize("field", ["flowkit", "event", "flow"])
def test_a_section_that_is_missing(field: str, registry: Registry) -> None:
    lines = [line for line in (HEAD + FLOW).splitlines() if not line.startswith(f"{field}:")]
    (problem,) = problems("# a spec\n" + "\n".join(lines), registry)
    assert (problem.path, problem.line, problem.column) == ((), 2, 1)
    assert f"field '{field}' is missing: " in problem.message


def test_all_problems_in_the_order_of_the_text(registry: Registry) -> None:
    text = """\
        flowkit: 1
        train: {epochs: 0, ema: 2}
        flow:
          - {use: toy/scale, factr: 1, factor: x}
          - repeat: 2
            flow:
              - coupling: {use: toy/affine, scale: [x, y]}
        event: {}
        """
    found = [(problem.line, format_path(problem.path)) for problem in problems(text, registry)]
    assert found == [
        (2, "train.epochs"),
        (2, "train.ema"),
        (4, "flow[0].factr"),
        (4, "flow[0].factor"),
        (7, "flow[1].flow[0]"),
        (7, "flow[1].flow[0].coupling.scale[0]"),
        (7, "flow[1].flow[0].coupling.scale[1]"),
        (8, "event"),
    ]


def test_a_broken_plugin_is_one_problem(registry: Registry) -> None:
    step, repeated = "{use: broken/x}", "{repeat: 2, flow: [{use: broken/y}]}"
    (problem,) = problems(f"{HEAD}flow: [{step}, {repeated}]", registry)
    assert format_path(problem.path) == "flow[0]" and "ModuleNotFoundError" in problem.message
    broken, slip = problems(f"{HEAD}flow: [{', '.join([step] * 7)}, {{use: toy/scale, facto: 2}}]", registry)
    assert broken.message == problem.message and slip.message == "unknown field 'facto'"


def test_how_a_problem_is_printed(registry: Registry) -> None:
    (problem,) = problems(f"{HEAD}{FLOW}train: {{epocs: 3}}", registry)
    assert str(problem) == "\n".join(
        [
            "<spec>:4:9: train.epocs: unknown field 'epocs'",
            "    train: {epocs: 3}",
            "            ^",
            "    did you mean epochs?",
        ]
    )


def test_a_default_that_is_not_installed(registry: Registry) -> None:
    only_toy = Registry({"toy": registry.entries["toy"]})
    step = "{coupling: {use: toy/affine}, conditioner: {use: toy/net}}"
    base, split = problems(f"{HEAD}flow: [{step}]", only_toy)
    assert (format_path(split.path), split.line, split.column) == ("flow[0].split.use", 3, 8)
    assert "'glow'" in split.message and "'base'" in base.message


def test_a_dict(registry: Registry) -> None:
    source: dict[str, Any] = {"flowkit": 1, "event": {"shape": (2,)}, "flow": [{"use": "toy/scale"}]}
    spec = read_spec(source, ["train.epochs=3"], registry)
    assert isinstance(spec, Spec) and spec.train.epochs == 3
    assert "train" not in source


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({1: 2}, "key must be text"),
        ({"\ud800": 1}, "half of a surrogate pair is not text"),
        (10**5000, "more than 100 digits"),
        ({"x": 1}, "unknown field 'x'"),
    ],
    ids=["key", "half of a character", "number", "field"],
)
def test_a_dict_with_mistakes(part: Any, words: str, registry: Registry) -> None:
    source = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale"}], "train": part}
    with pytest.raises(SpecError, match=words) as caught:
        read_spec(source, registry=registry)
    assert caught.value.problems[0].file == "<spec>"


def test_a_dict_that_contains_itself(registry: Registry) -> None:
    source: dict[str, Any] = {"flowkit": 1}
    source["event"] = source
    with pytest.raises(SpecError, match="levels deep"):
        read_spec(source, registry=registry)


def test_a_path_and_a_text(good: str, registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(good, encoding="utf-8")
    assert read_spec(file, registry=registry) == read_spec(str(file), registry=registry)
    assert read_spec(file, registry=registry) == read_spec(good, registry=registry)
    assert read_spec(good.replace("\n", "\r"), registry=registry) == read_spec(good, registry=registry)
    json = '{"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale"}]}'
    assert read_spec(json, registry=registry).event.shape == (2,)


def test_what_is_installed_is_the_default_registry() -> None:
    with pytest.raises(SpecError, match="no plugin namespace 'toy' is installed"):
        read_spec(HEAD + FLOW)


def test_deep_repeats_are_read(registry: Registry) -> None:
    flow = "{use: toy/scale}"
    for _ in range(30):
        flow = f"{{repeat: 1, flow: [{flow}]}}"
    spec = read_spec(f"{HEAD}flow: [{flow}]", registry=registry)
    assert not isinstance(spec.flow[0], CouplingSpec)
