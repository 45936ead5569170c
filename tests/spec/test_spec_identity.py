from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flowkit
from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import Spec, canonical, lock, model_hash, read_spec, to_yaml
from flowkit.spec.document import MAX_BYTES
from flowkit.spec.run import read_lock
from flowkit_runtime.columns import MAX_COLUMNS

PLAIN = """\
flowkit: 1
event: {shape: [4], levels: null}
flow:
  - {use: toy/scale, factor: 1}
  - {coupling: {use: toy/affine}, conditioner: {use: toy/net}}
"""


@pytest.fixture
def plain(registry: Registry) -> Spec:
    return read_spec(PLAIN, registry=registry)


def test_the_canonical_form(plain: Spec) -> None:
    assert canonical(plain) == {
        "flowkit": 1,
        "event": {"shape": [4]},
        "flow": [
            {"use": "toy/scale", "factor": 1.0, "even": 2, "bias": False},
            {
                "coupling": {"use": "toy/affine", "scale": [0.25, 4.0]},
                "conditioner": {"use": "toy/net", "hidden": 8, "widths": [1]},
                "split": {"use": "glow/channels"},
            },
        ],
        "base": {"use": "base/standard_normal"},
    }


def test_the_hash_stays_what_it_was(plain: Spec) -> None:
    """Hashes are written into locks: changing how they are made makes old ones useless."""
    assert model_hash(plain) == "3382d858067a62517a59b2b7b685df7f1a40afbb5aec3aa9b61b7396878f2953"


SAME = {
    "number formats": PLAIN.replace("factor: 1}", "factor: 1.0}").replace("[4]", "[0x4]"),
    "defaults written out": PLAIN.replace("factor: 1}", "factor: 1e0, even: 2, note: null}"),
    "order, comments, data, train": """\
# a comment
train: {epochs: 7}
base: {use: base/standard_normal}
data: {use: toy/points, path: x}
flow:
- factor: 1
  use: toy/scale
- split: {use: glow/channels}
  conditioner: {use: toy/net}
  coupling: {use: toy/affine, scale: [0.25, 4]}
event:
  shape: [4]
flowkit: 1
""",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_makes_no_other_model(text: str, plain: Spec, registry: Registry) -> None:
    assert model_hash(read_spec(text, registry=registry)) == model_hash(plain)


OTHER = ["flow[0].factor=2", "flow[0].note=x", "event.levels=2", "event.shape=[6]", "context={classes: 2}"]


@pytest.mark.parametrize("override", OTHER)
def test_what_makes_another_model(override: str, plain: Spec, registry: Registry) -> None:
    assert model_hash(read_spec(PLAIN, [override], registry)) != model_hash(plain)


def test_the_lock_names_what_a_spec_names(good: str, registry: Registry) -> None:
    spec = read_spec(good, registry=registry)
    assert lock(spec) == {
        "flowkit": flowkit.__version__,
        "model": model_hash(spec),
        "plugins": {"this process": "0"},
    }


def test_the_lock_finds_plugins_inside_of_plugins(registry: Registry) -> None:
    class Installed(EntryPoint):
        dist = SimpleNamespace(metadata={"Name": "elsewhere", "Version": "2.1", "Summary": ""})  # type: ignore[assignment]

    both = Registry({**registry.entries, "far": [Installed("far", "toy_plugins", "flowkit")]})
    flow = "[{repeat: 2, flow: [{use: toy/elementwise, map: {use: far/affine}}]}]"
    spec = read_spec(f"{{flowkit: 1, event: {{shape: [2]}}, flow: {flow}}}", registry=both)
    assert lock(spec)["plugins"] == {"elsewhere": "2.1", "this process": "0"}


def test_yaml_that_is_read_again(good: str, registry: Registry) -> None:
    spec = read_spec(good, registry=registry)
    assert read_spec(to_yaml(spec), registry=registry) == spec


@pytest.mark.parametrize(
    "note",
    [
        "",
        "1",
        "1e3",
        "null",
        "yes",
        "a: b",
        "# x",
        "- x",
        "{x",
        "*x",
        "é\n\tü",
        "\x7f\x1b",
        "a\x85b",
        ": x",
        "? x",
        "x" * 500,
        "2024-01-31",
    ],
)
def test_text_that_needs_quotes(note: str, registry: Registry) -> None:
    source: dict[str, Any] = {
        "flowkit": 1,
        "event": {"shape": [2]},
        "flow": [{"use": "toy/scale", "note": note}],
    }
    spec = read_spec(source, registry=registry)
    assert read_spec(to_yaml(spec), registry=registry) == spec


@pytest.mark.parametrize("factor", [1e-300, 1e22, 0.1, 123456789.123456789, 5e-324])
def test_numbers_keep_all_their_digits(factor: float, registry: Registry) -> None:
    source = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "toy/scale", "factor": factor}]}
    spec = read_spec(source, registry=registry)
    assert read_spec(to_yaml(spec), registry=registry) == spec


def test_a_spec_prints_as_yaml(good: str, registry: Registry) -> None:
    spec = read_spec(good, registry=registry)
    again = read_spec(to_yaml(spec), registry=registry)
    assert read_spec(str(spec), registry=registry) == spec == again and f"{again}\n" == to_yaml(spec)


@pytest.mark.parametrize("train", [None, {}, {"batch_size": 7}, {"minutes": 2}, {"optimizer": {"name": "sgd"}}])
def test_the_printed_section_train_has_only_what_was_set(train: dict[str, Any] | None) -> None:
    source = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "glow/actnorm"}]}
    spec = read_spec(source if train is None else source | {"train": train})
    again = read_spec(str(spec))
    assert again == spec and again.model_fields_set - {"base"} == spec.model_fields_set
    assert again.train.model_fields_set == spec.train.model_fields_set
    assert again.train.optimizer.model_fields_set == spec.train.optimizer.model_fields_set


def test_yaml_is_pleasant_to_read(good: str, registry: Registry) -> None:
    assert (
        to_yaml(read_spec(good, registry=registry))
        == """\
flowkit: 1
event: {shape: [2, 4, 4], levels: 256}
context: {classes: 10}
flow:
  - repeat: 2
    flow:
      - {use: toy/scale, factor: 3, even: 2, bias: false}
      - repeat: 3
        flow:
          - coupling: {use: toy/affine, scale: [0.5, 2]}
            conditioner: {use: toy/net, hidden: 16, widths: [1]}
            split: {use: glow/channels}
      - {factor_out: channels}
      - {use: toy/squeeze}
  - {use: toy/elementwise, map: {use: toy/affine, scale: sigmoid}}
base: {use: base/standard_normal}
data: {use: toy/points, path: "some: where"}
train:
  epochs: 3
  batch_size: 128
  optimizer: {name: adamw, lr: 0.001, weight_decay: 0}
  schedule: cosine
  warmup: 0
  clip_norm: 50
  ema: null
  validate_every: 1
  seed: 0
  memory: store
  precision: fp32
  devices: 1
  num_nodes: 1
  strategy: ddp
  accumulate: 1
  logger: csv
  compile: false
"""
    )


def _flow(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"flowkit": 1, "event": {"shape": [4]}, "flow": list(steps)}


def _columns(number: int, name: str = "c") -> dict[str, Any]:
    columns = [{"column": f"{name}{index}"} for index in range(number)]
    data = {"use": "data/table", "path": "x.csv", "event": columns}
    return _flow({"use": "glow/actnorm"}) | {"event": {"shape": [number]}, "data": data}


COUPLING = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp"}}
LARGE: dict[str, Any] = {
    "a table of the most columns": _columns(MAX_COLUMNS),
    "many couplings": _flow(*[COUPLING] * 500),
    "a long permutation": _flow({"use": "glow/permute", "order": list(range(8_000))}) | {"event": {"shape": [8_000]}},
}


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_a_large_spec_is_read_again(source: Any) -> None:
    spec = read_spec(source)
    assert read_spec(to_yaml(spec)) == spec


def test_the_lock_of_a_large_spec_is_read_again(tmp_path: Path) -> None:
    """Its JSON is several times as long as the text of the spec."""
    spec = read_spec(_columns(MAX_COLUMNS, "x" * 150))
    record = {"plugins": {}, "spec": spec.model_dump(mode="json"), "data": {}}
    (tmp_path / "lock.json").write_text(json.dumps(record, indent=2))
    assert read_spec(read_lock(tmp_path).spec) == spec


def _nested(levels: int) -> dict[str, Any]:
    step: dict[str, Any] = COUPLING
    for _ in range(levels):
        step = {"repeat": 1, "flow": [step]}
    return _flow(step)


TOO_LARGE: dict[str, tuple[Any, str]] = {
    "too many couplings": (_flow(*[COUPLING] * 3_500), "32,000 values"),
    "too deep": (_nested(30), "64 levels"),
    "too long": (
        _flow({"use": "glow/actnorm"}) | {"data": {"use": "data/npy", "path": "x" * MAX_BYTES}},
        "1 MB",
    ),
}


@pytest.mark.parametrize(("source", "why"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_spec_that_could_not_be_read_again_is_refused(source: Any, why: str) -> None:
    """A run has it with its defaults filled in."""
    with pytest.raises(SpecError, match=f"with its defaults filled in, it .*{why}"):
        read_spec(source)
