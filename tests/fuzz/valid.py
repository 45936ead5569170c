"""Random valid specs over every plugin that is installed.

Nothing here knows a plugin: steps are drawn from the configs, and one is kept if a spec of it alone, on the shape that
reaches it, is valid. That the whole is valid then, and builds, is what the tests claim.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError

from flowkit.directions import Shared, shared
from flowkit.domains import REALS, Circle, Domains, by_coordinate
from flowkit.errors import PluginError, SpecError
from flowkit.plugin import BijectorConfig, Registry, Shape, Use
from flowkit.plugin.domain_field import read_domain, written_domain
from flowkit.spec import Train, directions, read_spec, to_yaml, walk
from flowkit.spec.conditioning import reads_context
from flowkit.spec.domains import Mismatch, codomain, data_domain
from flowkit.spec.model import ContextSpec
from flowkit.spec.read import read_fields
from flowkit.spec.walk import BrokenChain
from tests.fuzz.fields import DOMAINS, Drawn

MAX_LAYERS = 12
MAX_SIZE = 100
"""The most values in an event."""
TRIES = 6
"""For a step that fits the shape."""
LEVELS = st.none() | st.sampled_from([2, 3, 17, 256, 257, 65536])

Step = dict[str, Any]
Draw = Any


@st.composite
def shapes(draw: Draw, most: int = MAX_SIZE) -> list[int]:
    """[d] or [channels, height, width], odd, even and 1."""
    if draw(st.sampled_from([1, 3, 3])) == 1:
        return [draw(st.integers(1, min(12, most)))]
    height, width = draw(st.tuples(*[st.sampled_from([4, 2, 8, 6, 1, 3, 5, 7])] * 2))
    return [draw(st.integers(1, max(1, min(4, most // (height * width))))), height, width]


@st.composite
def contexts(draw: Draw, drawn: Drawn) -> dict[str, Any] | None:
    """Classes, or a vector, a set or an image, with an encoder that takes it now and then; or None."""
    sets = st.lists(st.integers(1, 5), min_size=2, max_size=2)
    plain = [{"shape": shapes(20)}, {"classes": st.integers(2, 5)}]
    encoded = {"shape": shapes(20) | sets, "encoder": drawn.use("encoder")}
    context = draw(st.none() | st.one_of(map(st.fixed_dictionaries, [*plain, encoded, encoded])))
    assume(context is None or _takes(drawn.registry, context))
    return context


def _takes(registry: Registry, context: dict[str, Any]) -> bool:
    """Whether an encoder takes contexts of the shape."""
    try:
        ContextSpec.model_validate(context, context={"registry": registry})
    except ValidationError:
        return False
    return True


@st.composite
def specs(draw: Draw, registry: Registry) -> dict[str, Any]:
    """A valid spec as a dict."""
    event = _pruned({"shape": draw(shapes()), "levels": draw(LEVELS)})
    drawn = Drawn(registry)
    context = draw(contexts(drawn))
    start = _Reached(tuple(event["shape"]), REALS if "levels" in event else None)
    begun: list[Step] = []
    if "levels" not in event and "map" in registry.namespaces and draw(st.integers(0, 3)) == 0:
        domain, begun = draw(_beginnings(event["shape"]))
        event["domain"] = domain
        start = _Reached(start.shape, REALS, data=read_domain(domain))
        if isinstance(start.data, Circle):
            start = replace(start, domain=start.data)
    flow, end = draw(_flows(_Ground(drawn, registry, event, context), start, MAX_LAYERS))
    flow = begun + flow
    assume(flow)
    spec: dict[str, Any] = {"flowkit": 1, "event": event, "flow": flow}
    if end.data not in (None, REALS):
        event["domain"] = written_domain(end.data)
    if end.domain not in (None, REALS):
        ends = [end for domain in by_coordinate(end.domain) for end in (domain.low, domain.high)]
        if all(map(math.isfinite, ends)):
            spec["base"] = {"use": "base/uniform", "bounds": written_domain(end.domain)}
        else:
            assume(not any(isinstance(domain, Circle) for domain in by_coordinate(end.domain)))
            flow.append({"use": "map/to_reals", "bounds": written_domain(end.domain)})
    if _accepted({**spec, "context": context}, registry):  # not if no step reads it
        spec["context"] = context
    sections = {
        "base": drawn.use("base"),
        "data": drawn.use("dataset"),
        "train": drawn.model(Train),
    }
    for name, section in sections.items():
        if draw(st.booleans()):
            candidate = {**spec, name: draw(section)}
            spec = candidate if _accepted(candidate, registry) else spec
    return spec


@st.composite
def loose(draw: Draw, registry: Registry) -> dict[str, Any]:
    """A spec of parts that nobody has fitted to each other, which validation accepts or refuses."""
    drawn = Drawn(registry)
    domains = st.none() | st.none() | DOMAINS | st.lists(DOMAINS, min_size=2, max_size=2)
    event = {"shape": draw(shapes(24)), "levels": draw(st.none() | LEVELS), "domain": draw(domains)}
    kinds = st.sampled_from(["use"] * 4 + ["coupling"] * 3 + ["elementwise", "autoregressive"] * 2 + ["factor_out"])
    steps = st.lists(kinds.flatmap(lambda kind: _step_either_way(drawn, kind)), min_size=1, max_size=4)
    sections = {
        "context": contexts(drawn),
        "base": st.none() | st.none() | drawn.use("base"),
        "train": st.none() | st.just({"memory": "reversible"}),
        "data": st.none() | st.just({"use": "data/toy", "name": "moons"}),
    }
    more = {name: draw(section) for name, section in sections.items()}
    return {"flowkit": 1, "event": _pruned(event), "flow": draw(steps), **_pruned(more)}


@st.composite
def _beginnings(draw: Draw, shape: list[int]) -> tuple[Any, list[Step]]:
    """A domain of the data, and the steps that take it: to the reals, or around the circle."""
    if draw(st.integers(0, 2)) == 0:
        circle = draw(DOMAINS.filter(lambda domain: isinstance(domain, dict)))
        return circle, draw(st.sampled_from([[{"use": "map/phase"}], [{"elementwise": {"use": "spline/circular"}}]]))
    plain = DOMAINS.filter(lambda domain: not isinstance(domain, dict))
    bounded = plain.filter(lambda domain: domain != "real")
    n = shape[0] if len(shape) == 1 and shape[0] > 1 else 0
    columns = st.lists(plain, min_size=n, max_size=n).filter(lambda domains: any(each != "real" for each in domains))
    return draw(bounded | columns if n else bounded), [{"use": "map/to_reals"}]


def written(spec: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """A spec as the three things that `read_spec` takes: a dict, YAML, JSON."""
    return st.sampled_from(
        [
            lambda: copy.deepcopy(spec),
            lambda: to_yaml(dict(spec)),
            lambda: json.dumps(spec),
            lambda: json.dumps(spec, indent=2),
        ]
    ).map(lambda write: write())


@dataclass(frozen=True)
class _Reached:
    """The shape and the domain that some steps reach. The domain is None while all steps take any."""

    shape: Shape
    domain: Domains | None
    directions: Shared = "both"
    data: Domains | None = None
    """The domain of the data, which the first step decides that doesn't take any."""


def _declares(step: Any) -> bool:
    """Whether a step takes one domain only."""
    match step.item:
        case Use(config=BijectorConfig() as config):
            return config.domain(step.input_shape) is not None
    return True  # couplings, and factor-outs, whose latent is standard normal


@dataclass(frozen=True)
class _Ground:
    """What steps are drawn on."""

    drawn: Drawn
    registry: Registry
    event: dict[str, Any]
    context: dict[str, Any] | None

    def through(self, steps: list[Step], before: _Reached) -> _Reached | None:
        """What is reached by these steps; None if they don't fit, or require a context where there is none."""
        event = {**self.event, "shape": list(before.shape)}
        if isinstance(event.get("domain"), list) and before.shape != tuple(self.event["shape"]):
            del event["domain"]  # one for each of other coordinates
        spec = read_fields({"flowkit": 1, "event": event, "flow": steps, "context": self.context}, (), self.registry)
        if spec is None:
            return None
        try:
            walked = walk(spec)
            if self.context is None and any(reads_context(step.item) == "required" for step in walked):
                return None
            ways = shared([before.directions, *(directions(step.item) for step in walked)])
            if ways == "neither":
                return None
            data, domain = before.data, before.domain
            if domain is None and any(_declares(step) for step in walked):
                data = domain = data_domain(spec, walked)
            for step in walked if domain is not None else ():
                domain = codomain(step, domain)
        except (BrokenChain, Mismatch, PluginError):
            return None
        return _Reached(walked[-1].output_shape, domain, ways, data)


@st.composite
def _flows(draw: Draw, ground: _Ground, reached: _Reached, room: int, depth: int = 0) -> tuple[list[Step], _Reached]:
    """Steps of at most ``room`` layers in all, and what they reach."""
    flow: list[Step] = []
    for _ in range(draw(st.integers(1, 6))):
        steps, after = draw(_fitting(ground, reached, room - _layers(flow), depth))
        flow, reached = flow + steps, after
    return flow, reached


@st.composite
def _fitting(draw: Draw, ground: _Ground, reached: _Reached, room: int, depth: int) -> tuple[list[Step], _Reached]:
    """One step that takes what is reached, in a list; none if there is no room, or if luck is out."""
    kinds = ["use"] * 4 + ["coupling"] * 4 + ["elementwise"] * 2 + ["factor_out"]
    kinds += ["repeat"] * 2 * (depth < 2) + ["autoregressive"] * 2 * ground.drawn.has("masked-conditioner")
    for _ in range(TRIES if room > 0 else 0):
        kind = draw(st.sampled_from(kinds))
        if kind == "repeat":
            body, _ = draw(_flows(ground, reached, room, depth + 1))
            step = {"repeat": draw(st.integers(1, max(1, min(3, room // max(1, _layers(body)))))), "flow": body}
        else:
            step = draw(_step_either_way(ground.drawn, kind))
        after = ground.through([step], reached)
        if after and math.prod(after.shape) <= MAX_SIZE:
            return [step], after
    return [], reached


def _step_either_way(drawn: Drawn, kind: str) -> st.SearchStrategy[Step]:
    """A step, sometimes inverted."""
    inverse = st.sampled_from([{}, {}, {}, {"inverse": True}] if kind != "factor_out" else [{}])
    return st.builds(lambda step, more: {**step, **more}, _plain_step(drawn, kind), inverse)


def _plain_step(drawn: Drawn, kind: str) -> st.SearchStrategy[Step]:
    if kind == "use":
        return drawn.use("bijector")
    if kind == "factor_out":
        return st.fixed_dictionaries({"factor_out": st.just("channels")}, optional={"base": drawn.use("base")})
    if kind == "elementwise":
        transformer = {"elementwise": drawn.use("transformer")}
        return st.fixed_dictionaries(transformer, optional={"conditioner": drawn.use("conditioner")})
    if kind == "autoregressive":
        parts = {"conditioner": drawn.use("masked-conditioner"), "order": drawn.use("order")}
        return st.fixed_dictionaries({"autoregressive": drawn.use("transformer")}, optional=parts)
    parts = {"coupling": drawn.use("transformer"), "conditioner": drawn.use("conditioner")}
    return st.fixed_dictionaries(parts, optional={"split": drawn.use("split"), "kept": drawn.use("transformer")})


def _layers(flow: list[Step]) -> int:
    return sum(step["repeat"] * _layers(step["flow"]) if "repeat" in step else 1 for step in flow)


def _accepted(spec: dict[str, Any], registry: Registry) -> Any:
    """The spec read, or None."""
    try:
        return read_spec(spec, registry=registry)
    except SpecError:
        return None


def _pruned(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value is not None}
