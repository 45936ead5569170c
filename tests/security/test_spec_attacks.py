"""Specs that try to run code, to reach outside, or to cost without end."""

from __future__ import annotations

import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from flowkit.flow import Flow
from flowkit.plugin import Registry
from flowkit.spec import SpecError, read_spec
from tests.security.actions import built
from tests.security.bounded import outcome, refused

SPEC = "flowkit: 1\nevent: {{shape: [2]}}\nflow: [{{use: glow/actnorm}}]\n{}"

TEXTS = {
    "python tag": ("x: !!python/object/apply:os.system ['touch {owned}']", "tags"),
    "python name": ("x: !!python/name:os.system", "tags"),
    "tag of its own": ("x: !include /etc/passwd", "tags"),
    "tag of a type": ("x: !!binary aGk=", "tags"),
    "anchor": ("x: &a [1]", "anchors"),
    "alias": ("x: [*a]", "anchors"),
    "merge": ("<<: {a: 1}", "merge keys"),
    "directive": ("--- \nx: 1", "second document"),
    "brackets": ("x: " + "[" * 300, "nested more than 64 levels"),
    "digits": ("x: " + "9" * 5000, "a number of 5000 characters"),
    "control character": ("x: \x1b[31m", r"U\+001B"),
}


@pytest.mark.parametrize(("line", "message"), TEXTS.values(), ids=TEXTS)
def test_text_is_only_data(tmp_path: Path, line: str, message: str) -> None:
    owned = tmp_path / "owned"
    with pytest.raises(SpecError, match=message):
        read_spec(SPEC.format(line.replace("{owned}", str(owned))))
    assert not owned.exists()


NAMES = [
    "os/system", "os.system", "glow.plugin", "flowkit_glow.actnorm:ActNorm", "glow/../../evil", "../evil",
    "/etc/passwd", "glow/actnorm\x00", "glow/Actnorm", "evil/actnorm", "glow/__class__", "file:///etc", "glow/", "/",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_looked_up_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("evil.py", "os.py"):
        (tmp_path / module).write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    with pytest.raises(SpecError, match=r"no bijector|no plugin namespace|is not a plugin name"):
        read_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": name}]})
    assert "evil" not in set(sys.modules) - before


def test_validation_opens_no_data(tmp_path: Path) -> None:
    for path in ("/dev/zero", "/etc/passwd", str(tmp_path / "nowhere")):
        read_spec(SPEC.format(f"data: {{use: data/npy, path: {path}}}"))


def with_coupling(transformer: dict[str, Any], conditioner: dict[str, Any], shape: Any = (4, 8, 8)) -> dict[str, Any]:
    flow = [{"coupling": {"use": "glow/affine"} | transformer, "conditioner": conditioner}]
    return {"flowkit": 1, "event": {"shape": list(shape)}, "flow": flow}


def layer(shape: Any, **fields: Any) -> dict[str, Any]:
    return {"flowkit": 1, "event": {"shape": shape}, "flow": [fields]}


MLP, CONVNET, SPLINE = {"use": "glow/mlp"}, {"use": "glow/convnet"}, {"use": "spline/rational_quadratic"}
MIXTURE = {"use": "mixture/logistic"}


def autoregressive(shape: Any = (2,), **parts: Any) -> dict[str, Any]:
    use = {name: {"use": f"autoregressive/{plugin}", **fields} for name, (plugin, fields) in parts.items()}
    return layer(list(shape), autoregressive={"use": "glow/affine"}, **use)


def encoded(name: str, shape: Any = (4, 2), **fields: Any) -> dict[str, Any]:
    encoder = {"use": f"encoder/{name}", **fields}
    return with_coupling({}, MLP, [2]) | {"context": {"shape": list(shape), "encoder": encoder}}


COSTLY = {
    "encoder.features": lambda n: encoded("deep_set", features=n),
    "encoder.layers": lambda n: encoded("deep_set", layers=n),
    "encoder.hidden": lambda n: encoded("gru", hidden=n),
    "convolutions.hidden": lambda n: encoded("conv", (1, 8, 8), hidden=n),
    "set": lambda n: encoded("deep_set", [n, 1]),
    "flattened context": lambda n: encoded("mlp", [n, n]),
    "draws.size": lambda n: layer([2], use="glow/actnorm") | {"data": {"use": "data/draws", "size": n}},
    "made.layers": lambda n: autoregressive(conditioner=("made", {"layers": n})),
    "made.hidden": lambda n: autoregressive(conditioner=("made", {"hidden": n})),
    "autoregressive event": lambda n: autoregressive([n]),
    "listed.indices": lambda n: autoregressive(order=("listed", {"indices": [0, n]})),
    "random.seed": lambda n: autoregressive(order=("random", {"seed": n})),
    "mlp.layers": lambda n: with_coupling({}, MLP | {"layers": n}),
    "mlp.hidden": lambda n: with_coupling({}, MLP | {"hidden": n}),
    "convnet.hidden": lambda n: with_coupling({}, CONVNET | {"hidden": n}),
    "spline.bins": lambda n: with_coupling(SPLINE | {"bins": n}, MLP),
    "logistic.components": lambda n: with_coupling(MIXTURE | {"components": n}, MLP),
    "householder.reflections": lambda n: layer([2], use="glow/householder", reflections=n),
    "permute.order": lambda n: layer([2], use="glow/permute", order=[0, n]),
    "roll.shift": lambda n: layer([2], use="glow/roll", shift=n),
    "squeeze.factor": lambda n: layer([1, 8, 8], use="glow/squeeze", factor=n),
    "gaussian_mixture.components": lambda n: (
        layer([2], use="glow/actnorm") | {"base": {"use": "base/gaussian_mixture", "components": n}}
    ),
    "full_normal.event": lambda n: layer([n], use="glow/actnorm") | {"base": {"use": "base/full_normal"}},
    "levels": lambda n: layer([2], use="glow/rescale") | {"event": {"shape": [2], "levels": n}},
    "event": lambda n: layer([n], use="glow/actnorm"),
    "channels": lambda n: layer([n, 1, 1], use="glow/conv1x1"),
    "height": lambda n: layer([1, n, n], use="glow/squeeze"),
    "classes": lambda n: with_coupling({}, MLP) | {"context": {"classes": n}},
    "context": lambda n: with_coupling({}, MLP) | {"context": {"shape": [n]}},
    "repeat": lambda n: layer([2], repeat=n, flow=[{"use": "glow/actnorm"}]),
    "nested repeat": lambda n: layer([2], repeat=n, flow=[{"repeat": n, "flow": [{"use": "glow/actnorm"}]}]),
    "toy.n": lambda n: layer([2], use="glow/actnorm") | {"data": {"use": "data/toy", "name": "moons", "n": n}},
    "seed": lambda n: layer([2], use="glow/actnorm") | {"train": {"seed": n}},
}
"""The numbers in specs that decide how much there is to build."""


VALUES = (10**7, 10**9, 10**12, 10**19, 10**99)
FINE = {
    ("event", 10**7),
    ("set", 10**7),
    *((name, n) for n in VALUES[:3] for name in ("seed", "random.seed")),
    *(("roll.shift", n) for n in VALUES),
}


@pytest.mark.parametrize("name", COSTLY)
def test_absurd_numbers_are_refused_before_they_cost(name: str) -> None:
    kind, answers = outcome(built, [COSTLY[name](value) for value in VALUES])
    assert kind == "returned", answers
    for value, text in zip(VALUES, literal_eval(answers), strict=True):
        assert bool(text) != ((name, value) in FINE), (value, text)
        assert "Exception raised from" not in text and len(text) < 1000  # no stack trace of torch's


REAL = {
    "rescale.low": lambda x: layer([2], use="glow/rescale", low=-x, high=x),
    "rescale.high": lambda x: layer([2], use="glow/rescale", low=0, high=x),
    "affine.lo": lambda x: with_coupling({"scale": [min(x, 0.5), 2]}, MLP),
    "affine.hi": lambda x: with_coupling({"scale": [0.5, max(x, 2)]}, MLP),
    "logistic.lo": lambda x: with_coupling(MIXTURE | {"scale": [min(x, 0.5), 2]}, MLP),
    "logistic.hi": lambda x: with_coupling(MIXTURE | {"scale": [0.5, max(x, 2)]}, MLP),
    "spline.bound": lambda x: with_coupling(SPLINE | {"bound": x}, MLP),
    "student_t.degrees_of_freedom": lambda x: (
        layer([2], use="glow/actnorm") | {"base": {"use": "base/student_t", "degrees_of_freedom": x}}
    ),
    "moebius.radius": lambda x: (
        layer([2], elementwise={"use": "map/moebius", "radius": x})
        | {"event": {"shape": [2], "domain": {"circle": [0, 1]}}, "base": {"use": "base/uniform"}}
    ),
    "dropout": lambda x: with_coupling({}, MLP | {"dropout": x}),
    "lr": lambda x: layer([2], use="glow/actnorm") | {"train": {"optimizer": {"lr": x, "weight_decay": x}}},
}


@pytest.mark.parametrize("name", REAL)
def test_extreme_reals_build_or_are_refused(name: str) -> None:
    kind, answers = outcome(built, [REAL[name](value) for value in (5e-324, 1e-38, 1e38, 1.7e308)])
    assert kind == "returned", answers


def test_many_layers_of_a_large_event_are_counted_not_built() -> None:
    spec = layer([2**24], repeat=4096, flow=[{"use": "glow/actnorm"}])
    assert "parameters; the most is" in refused(Flow.from_spec, spec)


def test_every_number_in_a_first_party_config_is_tried() -> None:
    """A new field that decides how much there is to build belongs into the tables above."""
    tried = {name.rpartition(".")[2] for name in (*COSTLY, *REAL)} | {"scale", "noise", "fractions"}
    tried.add("shape")  # of data/images, which is compared with the event's before anything is trained
    for plugin in Registry.discover().load_all()[0]:
        if plugin.distribution == "flowkit-nf":
            for name, field in plugin.descriptor.config.model_fields.items():
                numeric = any(kind in repr(field.annotation) for kind in ("int", "float"))
                assert not numeric or name in tried, f"{plugin.name}: {name}"
