"""Valid specs over all plugins: they validate, build, round-trip, and have the shapes that validation says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from tests.extent import extent
from tests.fuzz.agreement import check, check_text
from tests.fuzz.running import FEW, fuzz
from tests.fuzz.valid import loose, specs, written

EXAMPLES = extent(FEW, 10_000)
ENOUGH = 5000
"""Examples in which every field must have been written of every plugin that is a part of flows."""
SEEDS = st.integers(0, 2**31)


def cases(registry: Registry) -> st.SearchStrategy[tuple[dict[str, Any], Any, int]]:
    """A spec, the same as it is written, a seed."""
    return specs(registry).flatmap(lambda spec: st.tuples(st.just(spec), written(spec), SEEDS))


def test_specs(registry: Registry) -> None:
    distinct: set[str] = set()
    strengths: Counter[float | None] = Counter()
    drawn: set[tuple[str, str]] = set()

    def holds(case: tuple[dict[str, Any], Any, int]) -> None:
        spec, source, seed = case
        try:
            strengths[check(source, registry, seed)] += 1
        except Exception as error:
            error.add_note(f"seed {seed} of {json.dumps(spec)}")  # hypothesis prints no names of plugins
            raise
        distinct.add(json.dumps(spec, sort_keys=True))
        drawn.update(_named(spec))

    fuzz(cases(registry), holds, EXAMPLES)
    print(f"{sum(strengths.values())} specs, {len(distinct)} of them distinct, 0 failures")
    print(f"perturbed by {dict(strengths)}")
    installed, _ = registry.load_all()
    parts = [each for each in installed if each.kind != "dataset"]  # a table's columns hardly ever fit the event
    fields = {(each.name, field) for each in parts for field in ("use", *each.descriptor.config.model_fields)}
    assert fields <= drawn or EXAMPLES < ENOUGH, f"never drawn: {fields - drawn}"


def test_a_flow_whose_samples_overflow(registry: Registry) -> None:
    """The last actnorms stretch a channel that hardly varies; the autoregressive layer's scale is a sigmoid."""
    flow = [
        {"autoregressive": {"use": "glow/additive"}, "order": {"use": "stride/order", "stride": 5}},
        *[{"use": "map/exp"}, {"use": "map/softplus", "inverse": True}] * 2,
        {"elementwise": {"use": "spline/rational_quadratic", "bound": 1.5}},
        {
            "autoregressive": {"use": "glow/affine", "scale": "sigmoid"},
            "conditioner": {"use": "autoregressive/made", "hidden": 7},
            "order": {"use": "stride/order"},
        },
        {"coupling": {"use": "bend/transformer", "max_slope": 8.0}, "conditioner": {"use": "sine/conditioner"}},
        {"use": "glow/householder", "reflections": 1},
        *[{"use": "glow/actnorm"}] * 3,
    ]
    flow[0]["conditioner"] = {"use": "each/masked"}
    spec = {"flowkit": 1, "event": {"shape": [9]}, "flow": flow}
    assert check(spec, registry, 17) is None


def test_a_sigmoid_near_the_end_of_its_interval(registry: Registry) -> None:
    """30 becomes 1 - 1e-13, which has three digits of the distance from 1."""
    flow = [{"use": "map/sigmoid"}, {"use": "glow/roll"}, {"use": "glow/roll", "shift": -1, "axis": "width"}]
    base = {"use": "base/uniform", "bounds": [0.0, 1.0]}
    spec = {"flowkit": 1, "event": {"shape": [1], "levels": 256}, "flow": flow, "base": base}
    for seed in range(12):
        check(spec, registry, seed)


@pytest.mark.slow
def test_a_plateau_between_components(registry: Registry) -> None:
    """Means of data up to 65,536 lie so far apart that the mixture is flat between them: nothing inverts it there."""
    mixture = {"use": "mixture/logistic"}
    convnet = {"use": "glow/convnet", "normalization": "none"}
    bent = {
        "coupling": {**mixture, "components": 5, "scale": [0.25, 4.0]},
        "conditioner": {"use": "glow/mlp", "dropout": 0.0},
        "split": {"use": "some/split", "kept": 1},
        "kept": {"use": "bend/transformer", "max_slope": 44.3125},
    }
    rest = [
        {"coupling": mixture, "conditioner": {"use": "glow/convnet"}},
        {"use": "glow/householder", "reflections": 1},
    ]
    flow = [
        {"repeat": 3, "flow": [{"coupling": mixture, "conditioner": convnet, "inverse": True}]},
        {"repeat": 2, "flow": [bent, *rest]},
        {"use": "glow/actnorm"},
    ]
    event, context = {"shape": [2, 8, 2], "levels": 65536}, {"classes": 4}
    base = {"use": "base/class_conditional_normal"}
    assert check({"flowkit": 1, "event": event, "context": context, "flow": flow, "base": base}, registry, 0) == 0.03


def test_parts_that_nobody_fitted(registry: Registry) -> None:
    """What validation refuses is refused with problems; what it accepts builds and runs, as any valid spec does."""
    outcomes: Counter[str] = Counter()

    def holds(case: tuple[dict[str, Any], int]) -> None:
        spec, seed = case
        try:
            read_spec(spec, registry=registry)
        except SpecError as error:
            assert error.problems
            outcomes["refused"] += 1
            return
        try:
            check(spec, registry, seed)
        except Exception as error:
            error.add_note(f"seed {seed} of {json.dumps(spec)}")
            raise
        outcomes["accepted"] += 1

    fuzz(st.tuples(loose(registry), SEEDS), holds, EXAMPLES)
    print(dict(outcomes))
    assert outcomes["refused"] > outcomes["accepted"]


def test_fields_of_any_type(toys: Registry) -> None:
    """Nested references, lists, text: of plugins whose code doesn't exist."""
    named: set[tuple[str, str]] = set()

    def holds(spec: dict[str, Any]) -> None:
        check_text(read_spec(spec, registry=toys), toys)
        named.update(_named(spec))

    fuzz(specs(toys), holds, extent(FEW, 1000))
    assert {("toy/elementwise", "map"), ("toy/net", "widths"), ("toy/scale", "note")} <= named


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The plugins that the tests of specs are written with."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "spec")
    modules = {"toy": "toy_plugins", "glow": "toy_defaults", "base": "toy_defaults"}
    return Registry({name: [EntryPoint(name, module, "flowkit")] for name, module in modules.items()})


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """(plugin, field) of all that a spec writes."""
    if isinstance(value, dict):
        yield from ((value["use"], field) for field in value if "use" in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
