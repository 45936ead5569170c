"""A spec is refused if its layers lack a direction that it needs; the directions of a flow are those of all layers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowkit.errors import PluginError, SpecError
from flowkit.plugin import (
    BijectorConfig,
    Descriptor,
    Directions,
    Found,
    OrderConfig,
    Registry,
    SplitConfig,
    TransformerConfig,
)
from flowkit.plugin import TransformerRef as Transformer
from flowkit.plugin.found import IN_PROCESS
from flowkit.spec import Spec, flow_directions, read_spec


class Sampler(BijectorConfig):
    """Runs its inverse only."""

    directions = "inverse"


class Bend(TransformerConfig):
    """Has a formula for one direction."""

    directions = "forward"


class Around(BijectorConfig):
    """Runs the transformer that it names."""

    map: Transformer


class Either(BijectorConfig):
    """Runs as the field says."""

    way: str = "both"

    @property
    def directions(self) -> Directions:  # type: ignore[override]
        return {"both": "both", "one": "forward"}.get(self.way, self.way)  # type: ignore[return-value]


MINE: dict[str, dict[str, Any]] = {
    "bijector": {"sampler": Sampler, "around": Around, "either": Either},
    "transformer": {"bend": Bend},
}


def read(*steps: dict[str, Any], **sections: Any) -> Spec:
    mine = {
        f"my/{name}": Found(f"my/{name}", kind, Descriptor(name, config, "nowhere:Target"), IN_PROCESS)
        for kind, configs in MINE.items()
        for name, config in configs.items()
    }
    registry = Registry(Registry.discover().entries, registered=mine)
    lines = ["flowkit: 1", "event: {shape: [2]}", "flow:", *(f"  - {json.dumps(step)}" for step in steps)]
    more = (f"{name}: {json.dumps(section)}" for name, section in sections.items())
    return read_spec("\n".join([*lines, *more]), registry=registry)


def use(plugin: str, **fields: Any) -> dict[str, Any]:
    return {"use": plugin, **fields}


PLANAR, ACTNORM, SAMPLER = use("residual/planar"), use("glow/actnorm"), use("my/sampler")
INVERSE = {"inverse": True}
BEND = {"coupling": use("my/bend"), "conditioner": use("glow/mlp")}
MOONS = use("data/toy", name="moons")


@pytest.mark.parametrize(
    ("steps", "directions"),
    [
        ([ACTNORM, {"coupling": use("glow/affine"), "conditioner": use("glow/mlp")}], "both"),
        ([ACTNORM, PLANAR], "forward"),
        ([ACTNORM, {"repeat": 2, "flow": [ACTNORM, PLANAR]}], "forward"),
        ([PLANAR | INVERSE, SAMPLER, {"factor_out": "channels"}], "inverse"),
        ([SAMPLER | INVERSE], "forward"),
        ([BEND], "forward"),
        ([BEND | INVERSE], "inverse"),
        ([{"elementwise": use("my/bend")}], "forward"),
        ([use("my/around", map=use("my/bend"))], "forward"),
        ([use("my/around", map=use("glow/affine"))], "both"),
        ([use("my/either", way="one")], "forward"),
        ([use("my/either")], "both"),
    ],
)
def test_those_of_all_layers(steps: list[dict[str, Any]], directions: str) -> None:
    assert flow_directions(read(*steps)) == directions


REVERSIBLE = {"memory": "reversible"}
REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "training of what samples only": (
        [ACTNORM, PLANAR | INVERSE], {"data": MOONS},
        r"5:5: flow\[1\]: inverse of residual/planar runs its inverse only .* training on data needs the forward "
        r"direction.*Leave out inverse: true at flow\[1\], or leave out data",
    ),
    "training of a layer that samples only": (
        [{"repeat": 3, "flow": [SAMPLER]}], {"data": MOONS}, r"flow\[0\].flow\[0\]: my/sampler .*Add inverse: true"
    ),
    "memory that needs inverses": (
        [ACTNORM, BEND], {"train": REVERSIBLE},
        r"train.memory: reversible needs the inverse .*coupling my/bend at flow\[1\] runs forward only.*checkpoint",
    ),
    "opposite layers": (
        [PLANAR, ACTNORM, SAMPLER], {},
        r"flow\[2\]: my/sampler runs its inverse only .*, and residual/planar at flow\[0\] runs forward only",
    ),
    "a declaration that is none": (
        [use("my/either", way="up")], {},
        r"flow\[0\]: .*its declaration of directions fails: .*'up', not one of both, forward, inverse",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "sections", "message"), REFUSED.values(), ids=REFUSED)
def test_what_lacks_a_direction(steps: list[dict[str, Any]], sections: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){message}") as caught:
        read(*steps, **sections)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("sections", [{"data": MOONS}, {"train": {"memory": "checkpoint"}}, {}])
def test_a_flow_that_runs_forward_only_trains(sections: dict[str, Any]) -> None:
    read(ACTNORM, PLANAR, **sections)


def test_descriptors_declare_them() -> None:
    class Wrong(BijectorConfig):
        directions = "backward"  # type: ignore[assignment]

    with pytest.raises(PluginError, match=r"directions of wrong must be one of both, forward, inverse, not 'backward'"):
        Descriptor("wrong", Wrong, "a:B").check("bijector")

    class OneWaySplit(SplitConfig):
        directions = "forward"

    with pytest.raises(PluginError, match="a split has none of its own"):
        Descriptor("split", OneWaySplit, "a:B").check("split")

    class OneWayOrder(OrderConfig):
        directions = "forward"

    with pytest.raises(PluginError, match="must be both: an order has none of its own"):
        Descriptor("order", OneWayOrder, "a:B").check("order")
