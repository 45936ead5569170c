"""A context is read by something, and is there for what requires it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest

from flowkit.errors import PluginError, SpecError
from flowkit.plugin import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    ConditionerRef,
    Descriptor,
    Found,
    MaskedConditionerConfig,
    OrderConfig,
    Ref,
    Registry,
    ShapeError,
    SplitConfig,
    TransformerConfig,
    Use,
)
from flowkit.plugin.found import IN_PROCESS
from flowkit.spec import Spec, read_spec


class Plain(BijectorConfig):
    """Reads no context."""


class Shift(BijectorConfig):
    """Reads a context."""

    reads_context = "optional"


class Needs(BijectorConfig):
    """Requires a context."""

    reads_context = "required"


class Either(BijectorConfig):
    """Requires one if a field says so."""

    conditional: bool = False
    fail: bool = False

    @property
    def reads_context(self):
        if self.fail:
            raise KeyError("nothing")
        return "required" if self.conditional else "no"


class Odd(BijectorConfig):
    """Declares nonsense."""

    @property
    def reads_context(self):
        return "sometimes"


class Outer(BijectorConfig):
    """Passes the context on to another bijector."""

    inner: Annotated[Use, Ref("bijector")]


class Net(ConditionerConfig):
    """Reads a context, as conditioners do."""

    def check_shapes(self, kept, transformed):
        if len(kept) != 1:
            raise ShapeError("reads vectors")


class Deaf(ConditionerConfig):
    """Reads no context."""

    reads_context = "no"


class Masked(MaskedConditionerConfig):
    """Reads a context, and vectors."""

    def check_shape(self, event):
        if len(event) != 1:
            raise ShapeError("reads vectors")


class Somehow(OrderConfig):
    """An order."""


class Halves(SplitConfig):
    """Divides events of even size."""

    def split_shapes(self, event):
        if event[0] % 2:
            raise ShapeError("an odd number")
        return 2 * ((event[0] // 2, *event[1:]),)


class Map(TransformerConfig):
    """y = x"""


class Normal(BaseConfig):
    """Reads no context."""


class Prior(BaseConfig):
    """Reads a context by itself, or by a network in its field, which it requires then."""

    net: ConditionerRef | None = None

    @property
    def reads_context(self):
        return "optional" if self.net is None else "required"


KINDS = {
    "base": {"prior": Prior},
    "bijector": {"plain": Plain, "shift": Shift, "needs": Needs, "either": Either, "odd": Odd, "outer": Outer},
    "conditioner": {"net": Net, "deaf": Deaf},
    "masked-conditioner": {"masked": Masked},
    "order": {"any": Somehow},
    "split": {"halves": Halves},
    "transformer": {"map": Map},
}


def registry(*left_out: str) -> Registry:
    """Return these plugins, and the base that a spec has by default."""
    mine = {
        f"my/{name}": Found(f"my/{name}", kind, Descriptor(name, config, "nowhere:Target"), IN_PROCESS)
        for kind, configs in KINDS.items()
        for name, config in configs.items()
        if name not in left_out
    }
    normal = Descriptor("standard_normal", Normal, "nowhere:Target")
    mine["base/standard_normal"] = Found("base/standard_normal", "base", normal, IN_PROCESS)
    return Registry({}, registered=mine)


def read(
    *steps: dict[str, Any],
    context: str = "{classes: 2}",
    event: str = "[4]",
    left_out: tuple = (),
    base: dict[str, Any] | None = None,
) -> Spec:
    lines = ["flowkit: 1", f"event: {{shape: {event}}}", *([f"context: {context}"] if context else [])]
    lines += ["flow:", *(f"  - {json.dumps(step)}" for step in steps)]
    return read_spec("\n".join(lines + ([f"base: {json.dumps(base)}"] if base else [])), registry=registry(*left_out))


def use(name: str, **fields: Any) -> dict[str, Any]:
    return {"use": f"my/{name}", **fields}


def coupling(conditioner: str) -> dict[str, Any]:
    return {"coupling": use("map"), "conditioner": use(conditioner), "split": use("halves")}


def elementwise(conditioner: str | None = None) -> dict[str, Any]:
    step = {"elementwise": use("map")}
    return step if conditioner is None else step | {"conditioner": use(conditioner)}


AUTOREGRESSIVE = {"autoregressive": use("map"), "conditioner": use("masked"), "order": use("any")}
READ = {
    "autoregressive": [AUTOREGRESSIVE],
    "elementwise": [elementwise("net")],
    "elementwise, declared to read none": [elementwise("deaf")],
    "bijector": [use("plain"), use("shift")],
    "conditioner": [coupling("net")],
    "by its field": [use("either", conditional=True)],
    "inside of another": [use("outer", inner=use("outer", inner=use("shift")))],
    "in a repeat": [use("plain"), {"repeat": 2, "flow": [use("shift")]}],
}
UNREAD = {
    "elementwise": [elementwise()],
    "bijector": [use("plain"), use("plain")],
    "conditioner": [coupling("deaf")],
    "by its field": [use("either")],
    "inside of another": [use("outer", inner=use("plain"))],
}


@pytest.mark.parametrize("steps", READ.values(), ids=READ)
@pytest.mark.parametrize("context", ["{classes: 3}", "{shape: [2]}"])
def test_a_context_that_is_read(steps: list[dict[str, Any]], context: str) -> None:
    assert read(*steps, context=context).context is not None


@pytest.mark.parametrize("steps", UNREAD.values(), ids=UNREAD)
def test_a_context_that_nothing_reads(steps: list[dict[str, Any]]) -> None:
    read(*steps, context="")
    with pytest.raises(SpecError, match="no step of this flow reads the context") as caught:
        read(*steps)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (("context",), 3)


@pytest.mark.parametrize(
    ("left_out", "advice"),
    [
        (
            (),
            "add a plugin that reads it (base: my/prior; bijector: my/shift, my/needs, my/either, my/odd; conditioner: "
            "my/net; masked-conditioner: my/masked), or leave context out",
        ),
        (
            ("shift", "needs", "either", "odd", "net", "prior"),
            "add a plugin that reads it (masked-conditioner: my/masked), or",
        ),
        (
            ("shift", "needs", "either", "odd", "net", "masked", "prior"),
            "leave context out: nothing that is installed reads it",
        ),
    ],
)
def test_what_could_read_it_is_named(left_out: tuple[str, ...], advice: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(use("plain"), left_out=left_out)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "base"),
    [([use("plain")], use("prior")), ([{"factor_out": "channels", "base": use("prior")}], None)],
    ids=["of the last latent", "of one that leaves"],
)
def test_a_base_reads_the_context(steps: list[dict[str, Any]], base: dict[str, Any] | None) -> None:
    assert read(*steps, base=base).context is not None


@pytest.mark.parametrize("path", [("base",), ("flow", 0, "base")])
def test_a_base_requires_a_context(path: tuple[str | int, ...]) -> None:
    prior = use("prior", net=use("net"))
    steps, base = ([use("plain")], prior) if len(path) == 1 else ([{"factor_out": "channels", "base": prior}], None)
    read(*steps, base=base)
    with pytest.raises(SpecError, match="my/prior requires a context, and this spec has none") as caught:
        read(*steps, base=base, context="")
    assert caught.value.problems[0].path == path


def test_a_context_that_is_required() -> None:
    read(use("needs"))
    with pytest.raises(SpecError, match="my/needs requires a context, and this spec has none") as caught:
        read(use("plain"), use("needs"), context="")
    (problem,) = caught.value.problems
    assert problem.path == ("flow", 1) and problem.line == 5 and "add a section context" in str(problem)


def test_the_network_of_an_elementwise_step_requires_a_context() -> None:
    with pytest.raises(SpecError, match="elementwise my/map requires a context, and this spec has none") as caught:
        read(use("plain"), elementwise("net"), context="")
    (problem,) = caught.value.problems
    assert problem.path == ("flow", 1) and "or leave conditioner out" in str(problem)
    read(use("plain"), elementwise(), context="")


def test_the_network_of_an_elementwise_step_is_checked_with_the_shape_of_the_context() -> None:
    with pytest.raises(SpecError) as caught:
        read(use("plain"), elementwise("net"), context="{shape: [1, 2, 2]}")
    (problem,) = caught.value.problems
    assert problem.path == ("flow", 1) and problem.line == 6
    assert "reads vectors; here it reads the context, [1, 2, 2] ([4] reaches it)" in str(problem)


@pytest.mark.parametrize(("step", "words"), [(use("either", fail=True), "KeyError"), (use("odd"), "'sometimes'")])
def test_a_broken_declaration(step: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(step)
    assert f"plugin {step['use']} (this process): its declaration of reads_context fails" in str(caught.value)
    assert words in str(caught.value) and caught.value.problems[0].path == ("flow", 0)


@pytest.mark.parametrize(
    ("kind", "declared"), [("bijector", "sometimes"), ("bijector", None), ("transformer", "optional")]
)
def test_a_declaration_is_checked_when_it_is_registered(kind: str, declared: Any) -> None:
    base = {"bijector": BijectorConfig, "transformer": TransformerConfig}[kind]
    config = type("Config", (base,), {"reads_context": declared, "__module__": __name__})
    with pytest.raises(PluginError, match="reads_context of wrong must be"):
        Descriptor("wrong", config, "nowhere:Target").check(kind)
