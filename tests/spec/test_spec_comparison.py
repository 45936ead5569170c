from __future__ import annotations

import itertools
import json
import time

import pytest

from flowkit.plugin import Registry
from flowkit.spec import Spec, model_hash, read_spec, to_yaml
from flowkit.spec.comparison import align, spec_differences

BEFORE = """\
flowkit: 1
event: {shape: [4, 2, 2], levels: 256}
flow:
  - {use: toy/scale, factor: 3}
  - repeat: 2
    flow:
      - use: toy/scale
      - coupling: {use: toy/affine}
        conditioner: {use: toy/net, hidden: 16}
  - {use: toy/scale, factor: 4}
  - {use: toy/elementwise, map: {use: toy/affine}}
  - use: toy/squeeze
  - elementwise: {use: toy/affine}
"""


@pytest.fixture
def before(registry: Registry) -> Spec:
    return read_spec(BEFORE, registry=registry)


def test_an_addition_stands_at_its_place_in_the_second() -> None:
    head, step = (
        "flowkit: 1\nevent: {shape: [4]}\nflow:\n",
        "{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}",
    )
    first = read_spec(f"{head}  - {step}}}\n")
    second = read_spec(f"{head}  - {{use: glow/actnorm}}\n  - {step}, kept: {{use: glow/additive}}}}\n")
    assert [str(each)[:14] for each in spec_differences(first, second)] == ["+ flow[0]: {us", "+ flow[1].kept"]


CHANGES: dict[str, tuple[tuple[str, str], list[str]]] = {
    "a field": (("factor: 4", "factor: 5"), ["~ flow[2].factor: 4 -> 5"]),
    "a default that changes": (
        ("coupling: {use: toy/affine}\n", "coupling: {use: toy/affine, scale: [0.5, 2]}\n"),
        ["~ flow[1].flow[1].coupling.scale: [0.25, 4] -> [0.5, 2]"],
    ),
    "other types": (
        ("map: {use: toy/affine}", "map: {use: toy/affine, scale: sigmoid}"),
        ["~ flow[3].map.scale: [0.25, 4] -> sigmoid"],
    ),
    "the transformer of an elementwise step": (
        ("elementwise: {use: toy/affine}", "elementwise: {use: toy/affine, scale: sigmoid}"),
        ["~ flow[5].elementwise.scale: [0.25, 4] -> sigmoid"],
    ),
    "a field that is gone": ((", levels: 256", ""), ["- event.levels: 256"]),
    "a section that is new": (
        ("flow:\n  - {", "context: {classes: 3}\nflow:\n  - {"),
        ["+ context: {classes: 3}"],
    ),
    "a step at the start": (
        ("flow:\n  - {", "flow:\n  - {use: toy/scale, factor: 9, note: 'a: b'}\n  - {"),
        ['+ flow[0]: {use: toy/scale, factor: 9, even: 2, bias: false, note: "a: b"}'],
    ),
    "a step that is gone": (
        ("  - {use: toy/scale, factor: 3}\n", ""),
        ["- flow[0]: {use: toy/scale, factor: 3, even: 2, bias: false}"],
    ),
    "a step inside of a repeat": (
        ("      - use: toy/scale\n", "      - use: toy/scale\n      - {use: toy/scale, factor: 0.1}\n"),
        ["+ flow[1].flow[1]: {use: toy/scale, factor: 0.1, even: 2, bias: false}"],
    ),
    "a repeat and what it repeats": (
        ("repeat: 2\n    flow:\n      - use: toy/scale\n", "repeat: 3\n    flow:\n"),
        ["~ flow[1].repeat: 2 -> 3", "- flow[1].flow[0]: {use: toy/scale, factor: 2, even: 2, bias: false}"],
    ),
    "another plugin in a step": (
        ("  - use: toy/squeeze", "  - factor_out: channels"),
        ["- flow[4]: {use: toy/squeeze}", "+ flow[4]: {factor_out: channels}"],
    ),
    "a step that moves and one that changes": (
        ("  - {use: toy/scale, factor: 4}\n  - {use: toy/elementwise, map: {use: toy/affine}}\n",
         "  - {use: toy/elementwise, map: {use: toy/affine, scale: [0.5, 2]}}\n"),
        ["- flow[2]: {use: toy/scale, factor: 4, even: 2, bias: false}", "~ flow[3].map.scale: [0.25, 4] -> [0.5, 2]"],
    ),
    "data and train": (
        ("flowkit: 1\n", "flowkit: 1\ntrain: {ema: null, optimizer: {lr: 1e-5}}\ndata: {use: toy/points, path: /x}\n"),
        ["~ train.optimizer.lr: 0.001 -> 1e-05", "~ train.ema: 0.999 -> null", "+ data: {use: toy/points, path: /x}"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_differs(case: str, before: Spec, registry: Registry) -> None:
    (old, new), expected = CHANGES[case]
    assert BEFORE.count(old) == 1
    after = read_spec(BEFORE.replace(old, new), registry=registry)
    assert list(map(str, spec_differences(before, after))) == expected
    assert (model_hash(before) == model_hash(after)) == (case == "data and train")


@pytest.mark.parametrize("case", CHANGES)
def test_the_other_way_round_has_the_opposite_signs(case: str, before: Spec, registry: Registry) -> None:
    after = read_spec(BEFORE.replace(*CHANGES[case][0]), registry=registry)
    signs = sorted(difference.sign for difference in spec_differences(before, after))
    opposite = sorted({"+": "-", "-": "+", "~": "~"}[difference.sign] for difference in spec_differences(after, before))
    assert signs == opposite


def test_the_same_however_it_is_written(good: str, registry: Registry) -> None:
    spec = read_spec(good, registry=registry)
    as_json = read_spec(json.dumps(spec.model_dump(mode="json")), registry=registry)
    as_yaml = read_spec("# a comment\n" + to_yaml(spec), registry=registry)
    for first, second in ((spec, as_json), (spec, as_yaml), (as_yaml, as_json)):
        assert spec_differences(first, second) == []


def test_one_step_among_hundreds_is_one_difference(registry: Registry) -> None:
    half = "  - use: toy/scale\n  - {use: toy/elementwise, map: {use: toy/affine}}\n" * 150
    texts = (f"flowkit: 1\nevent: {{shape: [4]}}\nflow:\n{half}{new}{half}" for new in ("", "  - use: toy/squeeze\n"))
    first, second = (read_spec(text.replace("[4]", "[4, 2, 2]"), registry=registry) for text in texts)
    assert [str(each) for each in spec_differences(first, second)] == ["+ flow[300]: {use: toy/squeeze}"]


def longest_common(before: str, after: str) -> int:
    """By trying all."""
    tried = (
        len(part) for n in range(len(before) + 1) for part in itertools.combinations(before, n) if within(part, after)
    )
    return max(tried)


def within(part: tuple[str, ...], text: str) -> bool:
    rest = iter(text)
    return all(entry in rest for entry in part)


LISTS = ["", "a", "aa", "ab", "aba", "abcab", "bcacb", "aaabaaab", "cabbac", "abcdabcd"]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(LISTS, LISTS)))
def test_as_much_as_there_can_be_corresponds(before: str, after: str) -> None:
    parts = list(align(before, after))
    assert "".join(before[rows] for _, rows, _ in parts) == before
    assert "".join(after[columns] for _, _, columns in parts) == after
    common = [before[rows] for equal, rows, columns in parts if equal and before[rows] == after[columns]]
    assert len("".join(common)) == sum(equal for equal, _, _ in parts) == longest_common(before, after)


def test_equal_entries_correspond_from_the_start() -> None:
    assert list(align("aaa", "aa"))[-1] == (False, slice(2, 3), slice(2, 2))


def test_the_longest_flows_are_compared_in_no_time() -> None:
    first, second = (["scale"] * 4000, ["scale", "squeeze"] * 2000)
    start = time.process_time()
    assert sum(equal for equal, _, _ in align(first, second)) == 2000
    assert time.process_time() - start < 1
