"""The domain of the data is followed to the support of the base distribution; what doesn't fit is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowkit.domains import REALS, Circle, Domains, Interval
from flowkit.errors import SpecError
from flowkit.plugin import BaseConfig, BijectorConfig, Descriptor, Found, Registry, Shape, TransformerConfig
from flowkit.plugin.found import IN_PROCESS
from flowkit.spec import Spec, canonical, model_hash, read_spec, to_yaml

TURN = Circle(0.0, 6.0)


class Spline(TransformerConfig):
    """A spline on the circle."""

    def domain(self) -> Circle:
        return TURN


class Phase(BijectorConfig):
    """Adds an angle, and forgets to go around the circle: it declares nothing."""


class Onto(BaseConfig):
    """The density is positive on the circle."""

    def support(self, event: Shape) -> Domains:
        return TURN


class Broken(BijectorConfig):
    """Has a rule that gives whatever the field says."""

    gives: str = "nothing"

    def codomain(self, event: Shape) -> Any:
        rules: dict[str, Any] = {
            "error": lambda: {}["x"],
            "few": lambda: (REALS,),
            "nothing": lambda: None,
            "text": lambda: "reals",
            "ends": lambda: Interval("0", 1),
        }
        return rules[self.gives]()


MINE = {"transformer": {"spline": Spline}, "bijector": {"phase": Phase, "broken": Broken}, "base": {"onto": Onto}}


def read(*steps: dict[str, Any], shape: str = "[2]", **sections: str) -> Spec:
    mine = {
        f"my/{name}": Found(f"my/{name}", kind, Descriptor(name, config, "nowhere:Target"), IN_PROCESS)
        for kind, configs in MINE.items()
        for name, config in configs.items()
    }
    registry = Registry(Registry.discover().entries, registered=mine)
    event = f"event: {{shape: {shape}{''.join(f', {k}: {v}' for k, v in sections.items() if k != 'base')}}}"
    base = [f"base: {sections['base']}"] if "base" in sections else []
    lines = ["flowkit: 1", event, *base, "flow:", *(f"  - {json.dumps(step)}" for step in steps)]
    return read_spec("\n".join(lines), registry=registry)


def use(name: str, **fields: Any) -> dict[str, Any]:
    return {"use": name, **fields}


def coupling(transformer: str) -> dict[str, Any]:
    return {"coupling": use(transformer), "conditioner": use("glow/mlp")}


CIRCLE = "{circle: [0, 6]}"
FITTING: list[tuple[list[dict[str, Any]], dict[str, str]]] = [
    ([use("map/to_reals"), use("glow/actnorm")], {"domain": "[[0, 1], real]"}),
    ([use("map/to_reals"), use("glow/actnorm")], {"domain": "[positive, [null, 3]]"}),
    ([use("map/to_reals"), use("glow/actnorm")], {"domain": "[0, 256]", "levels": "256"}),
    ([use("glow/permute"), use("map/logit"), coupling("glow/affine")], {"domain": "[[0, 1], [0, 1]]"}),
    ([use("glow/flip"), use("glow/roll"), use("map/logit")], {"domain": "[0, 1]"}),
    ([use("glow/actnorm"), use("map/sigmoid"), use("map/logit")], {}),
    ([use("map/exp"), use("map/to_reals", bounds="positive")], {}),
    ([coupling("my/spline"), use("glow/permute"), coupling("my/spline")], {"domain": CIRCLE, "base": "{use: my/onto}"}),
    ([coupling("my/spline"), use("map/phase")], {"domain": CIRCLE, "base": "{use: my/onto}"}),
    ([{"factor_out": "channels"}, use("map/logit")], {"domain": "[[0, 1], real]"}),
    ([use("map/exp", inverse=True), use("glow/actnorm", inverse=True)], {"domain": "positive"}),
    ([use("glow/permute"), use("map/sigmoid", inverse=True)], {"domain": "[0, 1]"}),
    (
        [use("map/phase"), coupling("spline/circular"), use("map/phase")],
        {"domain": "{circle: [-3.14, 3.14]}", "base": "{use: base/uniform}"},
    ),
    ([{"elementwise": use("my/spline")}], {"domain": CIRCLE, "base": "{use: my/onto}"}),
    ([{"autoregressive": use("my/spline")}], {"domain": CIRCLE, "base": "{use: my/onto}"}),
    ([use("glow/squeeze"), use("map/logit")], {"domain": "[0, 1]", "shape": "[1, 2, 2]"}),
]


@pytest.mark.parametrize(("steps", "sections"), FITTING)
def test_what_fits(steps: list[dict[str, Any]], sections: dict[str, str]) -> None:
    spec = read(*steps, **sections)
    assert canonical(spec)["event"].get("domain") == (None if "domain" not in sections else spec_domain(spec))


def spec_domain(spec: Spec) -> Any:
    return spec.model_dump(mode="json")["event"]["domain"]


def test_the_noise_has_a_domain_of_its_own() -> None:
    flow = [use("glow/actnorm")]
    source = {"flowkit": 1, "event": {"shape": [2], "levels": 4}, "flow": flow, "dequantization": {"flow": flow}}
    with pytest.raises(SpecError, match=r"dequantization\.flow\[0\]: .*\n *The noise has this domain"):
        read_spec(source)


def test_the_base_knows_the_event_without_a_flow() -> None:
    with pytest.raises(SpecError) as caught:
        read_spec({"flowkit": 1, "event": {"shape": [2], "domain": [0, 1]}, "base": use("base/uniform")})
    (problem,) = caught.value.problems
    assert "field 'flow' is missing" in problem.message


TWO = {"domain": "[[0, 1], real]"}
MISFITS: dict[str, tuple[list[dict[str, Any]], dict[str, str], str]] = {
    "logit on the reals": (
        [use("map/logit")], {}, r"flow\[0\]: map/logit takes \(0, 1\); .* reaches it is the reals.*declare it"
    ),
    "a phase that isn't one of the circle": (
        [coupling("my/spline"), use("my/phase")], {"domain": CIRCLE, "base": "{use: my/onto}"},
        r"flow\[1\]: my/phase takes the reals; the domain that reaches it is the circle \[0, 6\)",
    ),
    "another circle": (
        [coupling("my/spline")], {"domain": "{circle: [0, 1]}", "base": "{use: my/onto}"},
        r"coupling my/spline takes the circle \[0, 6\); .* is the circle \[0, 1\)",
    ),
    "the base": (
        [use("map/sigmoid")], {}, r"base: the base distribution takes the reals; .*map/sigmoid at flow\[0\] "
        r"gives this domain\. Map it to the reals first"
    ),
    "a map of another interval": (
        [use("map/logit")], {"domain": "[0, 2]"}, r"reaches it is \(0, 2\)\n.*Give it low: 0 and high: 2"
    ),
    "a base on another interval": (
        [use("glow/roll")], {"domain": "[0, 2]", "base": "{use: base/uniform, bounds: [0, 1]}"},
        r"reaches it is \(0, 2\)\n.*Give it the bounds \[0, 2\]",
    ),
    "an interval map of a half-line": (
        [use("map/logit")], {"domain": "positive"}, r"reaches it is \(0, ∞\)\n.*Take one for this domain in its place"
    ),
    "an interval into a linear layer": ([use("glow/actnorm")], {"domain": "[0, 1]"}, r"glow/actnorm takes the reals"),
    "coordinates that are rolled": ([use("glow/roll")], TWO, r"may move values .* differ"),
    "coordinates that are reflected": ([use("glow/householder")], TWO, r"glow/householder takes the reals"),
    "coordinates that are moved": ([use("glow/permute")], TWO, r"may move values .* differ: \(\(0, 1\), the reals\)"),
    "an inverted layer": (
        [use("map/logit", inverse=True)], {"domain": "[0, 1]"}, r"inverse of map/logit takes the reals; .* is \(0, 1\)"
    ),
    "an elementwise step": (
        [{"elementwise": use("my/spline")}], {}, r"elementwise my/spline takes the circle \[0, 6\); .* is the reals"
    ),
    "an autoregressive step": (
        [{"autoregressive": use("glow/affine")}], TWO, r"autoregressive glow/affine takes the reals; .*\(\(0, 1\)"
    ),
    "coordinates in a coupling": ([coupling("glow/affine")], TWO, r"takes the reals; .*\(\(0, 1\), the reals\)"),
    "a latent that leaves": (
        [{"factor_out": "channels"}], {"domain": "[real, [0, 1]]"}, r"a latent that leaves is standard normal: it takes"
    ),
    "a rule that fails": ([use("my/broken", gives="error")], {}, r"my/broken .*: its domain rule fails: KeyError"),
    "too few": ([use("my/broken", gives="few")], {}, r"gives 1 domains for an event of shape \[2\]"),
    "none": ([use("my/broken")], {}, r"gives None, and only the domain of a bijector may"),
    "ends that are no numbers": (
        [use("my/broken", gives="ends")], {}, r"its domain rule fails: ValueError: a domain begins below its end"
    ),
    "an infinite base": (
        [use("glow/actnorm")], {"base": "{use: base/uniform, bounds: [real, [0, 1]]}"}, r"base.bounds: needs intervals"
    ),
    "too many for the base": (
        [use("map/sigmoid")], {"base": "{use: base/uniform, bounds: [[0, 1], [0, 1], [0, 1]]}"},
        r"base: plugin base/uniform .* gives 3 domains"
    ),
    "a text": ([use("my/broken", gives="text")], {}, r"'reals', which is no domain"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    steps, sections, says = MISFITS[name]
    with pytest.raises(SpecError, match=rf"(?s){says}"):
        read(*steps, **sections)


INVALID = {
    "[1, 0]": r"event.domain: begins at 1 and ends at 0",
    "reals": r"event.domain: a domain is real, positive",
    "{circle: [0, null]}": r"a domain is real, positive",
    "[true, false]": r"a domain is real, positive",
    "[]": r"a domain is real, positive",
    "[real, real, real]": r"\[2\] takes one domain for all values, or a list of 2",
}


@pytest.mark.parametrize("domain", INVALID)
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(SpecError, match=INVALID[domain]):
        read(use("glow/actnorm"), domain=domain)


def test_the_domain_of_integer_data_is_that_of_its_levels() -> None:
    with pytest.raises(SpecError, match=r"the domain of integer data is \[0, 16\]"):
        read(use("map/to_reals"), domain="[0, 17]", levels="16")


def test_a_domain_is_part_of_the_model_and_written_as_it_is_read() -> None:
    spec = read(use("map/to_reals"), domain="[[0, 1], [null, 2]]")
    assert spec.event.domains == (Interval(0, 1), Interval(high=2))
    assert read_spec(to_yaml(spec)) == spec
    assert model_hash(spec) != model_hash(read(use("map/to_reals"), domain="[[0, 1], [null, 3]]"))
    assert "domain" not in canonical(read(use("glow/actnorm")))["event"]


def test_a_domain_has_one_canonical_form() -> None:
    """Random specs found that a list of equal domains gave another hash than the flow that was built from it."""
    forms = [("[[null, 3.5], [null, 3.5]]", "[null, 3.5]"), ("[real, real]", None), ("real", None)]
    for written, shorter in forms:
        steps = [use("map/to_reals", bounds=[None, 3.5])] if shorter else [use("glow/actnorm")]
        long, short = (read(*steps, **({"domain": text} if text else {})) for text in (written, shorter))
        assert model_hash(long) == model_hash(short) and canonical(long)["event"] == canonical(short)["event"]


def test_what_to_do_about_a_domain_after_the_reals() -> None:
    with pytest.raises(SpecError, match=r"declare it: event: .*; otherwise leave this layer out"):
        read(use("map/logit"))
    with pytest.raises(
        SpecError, match=r"declare it: event: .*; otherwise take a base on the reals, such as base/stand"
    ):
        read(use("glow/actnorm"), base="{use: base/uniform, bounds: [0, 1]}")
