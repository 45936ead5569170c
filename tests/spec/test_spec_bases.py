"""Each latent has a base distribution, whose support is the domain that reaches it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowkit.errors import SpecError
from flowkit.spec import Spec, canonical, latent_bases, lock, model_hash, read_spec, to_yaml, walk
from flowkit.spec.views import as_dict, dot, svg

UNIFORM = {"use": "base/uniform", "bounds": [0, 1]}
MIXTURE = {"use": "base/gaussian_mixture", "components": 3}
CLASSES = {"use": "base/class_conditional_normal"}
PERMUTE = {"use": "glow/permute"}


def read(*steps: dict[str, Any], base: dict[str, Any] | None = None, event: Any = None, context: Any = None) -> Spec:
    source: dict[str, Any] = {"flowkit": 1, "event": event or {"shape": [4]}}
    source |= {"context": context} if context else {}
    return read_spec(source | {"flow": list(steps)} | ({"base": base} if base else {}))


def leaves(base: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"factor_out": "channels"} | ({"base": base} if base else {})


def test_every_latent_has_a_base() -> None:
    spec = read(leaves(MIXTURE), leaves(), base={"use": "base/student_t"})
    bases = latent_bases(spec, walk(spec))
    assert [(each.name, each.path, each.shape) for each in bases] == [
        ("base/gaussian_mixture", ("flow", 0, "base"), (2,)),
        ("base/standard_normal", ("flow", 1, "base"), (1,)),
        ("base/student_t", ("base",), (1,)),
    ]


def test_the_standard_normal_of_a_factor_out_has_one_canonical_form() -> None:
    plain = read(leaves())
    assert canonical(plain)["flow"] == [{"factor_out": "channels"}]
    assert model_hash(read(leaves({"use": "base/standard_normal"}))) == model_hash(plain)
    assert model_hash(read(leaves(MIXTURE))) != model_hash(plain)


def test_a_base_is_written_back_and_locked() -> None:
    spec = read(leaves(MIXTURE))
    assert read_spec(to_yaml(spec)) == spec
    assert canonical(spec)["flow"][0]["base"] == MIXTURE
    assert lock(spec)["plugins"].keys() == {"flowkit-nf"}


@pytest.mark.parametrize("use", ["base/standrd_normal", "glow/affine"])
def test_a_base_that_is_none(use: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(leaves({"use": use}))
    assert caught.value.problems[0].path == ("flow", 0, "base", "use")


FITTING = {
    "leaves": ([PERMUTE, leaves(UNIFORM)], UNIFORM, [0, 1]),
    "one by one": ([leaves(UNIFORM)], None, ["real", "real", [0, 1], [0, 1]]),
    "kept on a circle": (
        [leaves()],
        {"use": "base/uniform", "bounds": {"circle": [0, 1]}},
        [{"circle": [0, 1]}, {"circle": [0, 1]}, "real", "real"],
    ),
}


@pytest.mark.parametrize(("steps", "base", "domain"), FITTING.values(), ids=FITTING)
def test_a_latent_that_leaves_fits_its_own_base(steps: list[dict[str, Any]], base: Any, domain: Any) -> None:
    read(*steps, base=base, event={"shape": [4], "domain": domain})


@pytest.mark.parametrize(
    ("steps", "domain", "says"),
    [
        ([leaves(UNIFORM)], "real", r"flow\[0\]: the base base/uniform takes \(0, 1\); the domain that reaches it is "),
        ([leaves()], [0, 1], r"flow\[0\]: a latent that leaves is standard normal: it takes the reals; the domain"),
        ([leaves(UNIFORM)], ["real", "real", [0, 1], [0, 2]], r"takes \(0, 1\); .* \(\(0, 1\), \(0, 2\)\)"),
    ],
)
def test_a_latent_that_leaves_does_not_fit(steps: list[dict[str, Any]], domain: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read(*steps, event={"shape": [4], "domain": domain})


NETWORK = {"use": "base/conditional_normal", "conditioner": {"use": "glow/convnet"}}


@pytest.mark.parametrize(
    ("base", "context", "says"),
    [
        (CLASSES, {"shape": [3]}, r"base: needs a context of classes without an encoder, such as \{classes: 10\}"),
        (CLASSES, None, r"base: base/class_conditional_normal requires a context, and this spec has none"),
        (NETWORK, {"shape": [3]}, r"base: .* here it reads the context, \[3\]"),
        ({"use": "base/gaussian_mixture", "components": 1}, None, r"base.components: .*2"),
        ({"use": "base/student_t", "degrees_of_freedom": 0}, None, r"base.degrees_of_freedom: .*0.001"),
    ],
    ids=["classes of an array", "classes of nothing", "a network that can't read it", "one component", "no freedom"],
)
@pytest.mark.parametrize("where", ["last", "leaves"])
def test_a_base_that_does_not_fit(where: str, base: dict[str, Any], context: Any, says: str) -> None:
    at, steps = ("base", [PERMUTE]) if where == "last" else ("flow\\[0\\].base", [leaves(base)])
    if where == "leaves" and "here it reads" in says:
        at = "flow\\[0\\]"
    with pytest.raises(SpecError, match=says.replace("base", at, 1)):
        read(*steps, base=base if where == "last" else None, context=context)


def test_views_name_the_bases() -> None:
    spec = read(leaves(MIXTURE), base=CLASSES, context={"classes": 2})
    described = as_dict(spec, [0], [15, 8], 0)
    assert described["bases"] == [
        {"name": "base/gaussian_mixture", "path": "flow[0].base", "parameters": 15},
        {"name": "base/class_conditional_normal", "path": "base", "parameters": 8},
    ]
    assert described["parameters"] == 23
    assert "base/gaussian_mixture: components 3" in dot(spec) and "base/class_conditional_normal" in dot(spec)
    picture = svg(spec)
    assert "base/gaussian_mixture" in picture and "base/class_conditional_normal, given the context" in picture
    assert json.dumps(described)


def test_the_weakest_likelihood_counts_bases_that_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowkit.spec import likelihood

    spec = read(leaves(MIXTURE))
    assert likelihood(spec) == "exact"
    (mixture, _) = latent_bases(spec, walk(spec))
    object.__setattr__(mixture.use.plugin.descriptor, "likelihood", "lower_bound")
    try:
        assert likelihood(spec) == "lower_bound"
    finally:
        object.__setattr__(mixture.use.plugin.descriptor, "likelihood", "exact")
