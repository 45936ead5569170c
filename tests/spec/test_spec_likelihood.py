"""The likelihood of a flow is the weakest that any of its plugins declares."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit.domains import Domains, Interval
from flowkit.plugin import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    Descriptor,
    Found,
    MaskedConditionerConfig,
    OrderConfig,
    PluginConfig,
    Registry,
    Shape,
    TransformerConfig,
    TransformerRef,
)
from flowkit.plugin.found import IN_PROCESS
from flowkit.spec import likelihood, read_spec


class Holder(BijectorConfig):
    """Holds a transformer."""

    inner: TransformerRef


class OfNoise(BijectorConfig):
    """Maps the noise to the reals."""

    def domain(self, event: Shape) -> Domains:
        return Interval(0, 1)


CONFIGS: dict[str, type[PluginConfig]] = {
    "bijector": BijectorConfig,
    "transformer": TransformerConfig,
    "conditioner": ConditionerConfig,
    "masked-conditioner": MaskedConditionerConfig,
    "order": OrderConfig,
    "base": BaseConfig,
}


def registry() -> Registry:
    """Return a plugin of each kind and likelihood, and one that holds another."""
    mine = [
        (kind, Descriptor(f"{kind}_{declared}", type("Config", (config,), {}), "nowhere:Target", likelihood=declared))
        for kind, config in CONFIGS.items()
        for declared in ("exact", "lower_bound", "estimate")
    ]
    mine.append(("bijector", Descriptor("of_noise", OfNoise, "nowhere:Target", likelihood="estimate")))
    mine.append(("bijector", Descriptor("holder", Holder, "nowhere:Target")))
    return Registry({}, registered={f"my/{d.name}": Found(f"my/{d.name}", kind, d, IN_PROCESS) for kind, d in mine})


def use(name: str, **fields: Any) -> dict[str, Any]:
    return {"use": f"my/{name}", **fields}


EXACT = use("bijector_exact")
NETWORK = {"elementwise": use("transformer_exact"), "conditioner": use("conditioner_lower_bound")}
MASKED = {
    "autoregressive": use("transformer_exact"),
    "conditioner": use("masked-conditioner_lower_bound"),
    "order": use("order_exact"),
}
CASES: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "all are exact": ([EXACT], "exact", "exact"),
    "a bijector": ([EXACT, use("bijector_lower_bound")], "exact", "lower_bound"),
    "a transformer": ([{"elementwise": use("transformer_estimate")}], "exact", "estimate"),
    "a network, in a repeat": ([EXACT, {"repeat": 2, "flow": [NETWORK]}], "exact", "lower_bound"),
    "a masked network": ([EXACT, MASKED], "exact", "lower_bound"),
    "a plugin in a field": ([use("holder", inner=use("transformer_lower_bound"))], "exact", "lower_bound"),
    "the base": ([EXACT], "lower_bound", "lower_bound"),
    "the weakest of two": ([use("bijector_lower_bound")], "estimate", "estimate"),
}


def test_the_flow_of_the_noise_counts() -> None:
    base = use("base_exact")
    noise = {"flow": [use("of_noise")], "base": base}
    event = {"shape": [1], "levels": 4}
    source = {"flowkit": 1, "event": event, "flow": [EXACT], "base": base, "dequantization": noise}
    assert likelihood(read_spec(source, registry=registry())) == "estimate"


@pytest.mark.parametrize(("flow", "base", "expected"), CASES.values(), ids=CASES)
def test_the_weakest_is_that_of_the_flow(flow: list[dict[str, Any]], base: str, expected: str) -> None:
    source = {"flowkit": 1, "event": {"shape": [1]}, "flow": flow, "base": use(f"base_{base}")}
    if "conditioner" in str(flow):
        source["context"] = {"shape": [2]}
    assert likelihood(read_spec(source, registry=registry())) == expected
