"""`context.encoder` in a spec: its shapes, what layers and their configs see of it, errors at its place, the hash."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import app
from flowkit.errors import ShapeError, SpecError
from flowkit.plugin import DatasetConfig, EncoderConfig, Registry
from flowkit.spec import canonical, context_shape, model_hash, read_spec, to_yaml
from flowkit.spec.schema import json_schema

COUPLING = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp"}}


def source(context: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {"flowkit": 1, "event": {"shape": [2]}, "context": context, "flow": [COUPLING], **sections}


def through(use: str, shape: Any, **fields: Any) -> dict[str, Any]:
    return {"shape": shape, "encoder": {"use": use, **fields}}


READ = {
    "a vector": (through("encoder/mlp", [3]), (16,)),
    "an image, flattened": (through("encoder/mlp", [1, 4, 4], features=5), (5,)),
    "an image": (through("encoder/conv", [1, 4, 4]), (16,)),
    "a set": (through("encoder/deep_set", [100, 2], features=8), (8,)),
    "a sequence": (through("encoder/gru", [100, 2], features=8), (8,)),
    "labels": ({"classes": 10, "encoder": {"use": "encoder/mlp", "features": 4}}, (4,)),
    "none": ({"shape": [3]}, (3,)),
    "labels without": ({"classes": 10}, (10,)),
}


@pytest.mark.parametrize("name", READ)
def test_what_layers_read(name: str) -> None:
    context, shape = READ[name]
    spec = read_spec(source(context))
    assert context_shape(spec.context) == shape
    assert read_spec(to_yaml(spec)) == spec
    jsonschema.validate(source(context), json_schema(Registry.discover()))


class Shapes(EncoderConfig):
    """Gives the shape that a field says, or raises."""

    gives: tuple[int, ...] = ()
    fails: bool = False

    def output_shape(self, context: Any) -> Any:
        if self.fails:
            raise KeyError("nothing")
        if not self.gives:
            raise ShapeError("reads no context of this size")
        return self.gives


NORMAL = {"use": "base/conditional_normal", "conditioner": {"use": "glow/convnet"}}
REFUSED = {
    "no encoder": (
        {"shape": [4, 2]},
        {},
        r":1:\d+: context\.shape: \[4, 2\] is a set or a sequence, which only an enc",
    ),
    "four sizes": (
        through("encoder/mlp", [1, 2, 3, 4]),
        {},
        r"context\.shape: must be \[d\] for vectors, \[n, d\] for",
    ),
    "another context": (through("encoder/deep_set", [4]), {}, r"context\.encoder: .* \[4, 1\] for 4 .* an array \[4\]"),
    "labels": (
        {"classes": 4, "encoder": {"use": "encoder/gru"}},
        {},
        r"context\.encoder: reads sequences .*the context is labels, one-hot \[4\]",
    ),
    "not there": (through("encoder/deepset", [4, 2]), {}, r"context\.encoder\.use: .*did you mean encoder/deep_set"),
    "another kind": (through("glow/mlp", [4]), {}, r"context\.encoder\.use: glow/mlp is a conditioner, not an encoder"),
    "a field": (through("encoder/gru", [4, 2], hiden=3), {}, r"context\.encoder\.hiden: unknown field 'hiden'"),
    "too many": (through("encoder/gru", [4, 2], hidden=10**6), {}, r"context\.encoder\.hidden: .*65536"),
    "no context": ({"encoder": {"use": "encoder/mlp"}}, {}, r"context: takes exactly one of classes and shape"),
    "its own refusal": (through("mine/shapes", [4]), {}, r"context\.encoder: reads no context of this size"),
    "a rule that fails": (through("mine/shapes", [4], fails=True), {}, r"context\.encoder: .*shape rule fails.*KeyErr"),
    "a shape that is none": (through("mine/shapes", [4], gives=[0]), {}, r"context\.encoder: .*which is no shape"),
    "two sizes": (through("mine/shapes", [4], gives=[2, 3]), {}, r"context\.encoder: .*must be \[d\] or .* \[2, 3\]"),
    "a base of classes": (
        {"classes": 4, "encoder": {"use": "encoder/mlp"}},
        {"base": {"use": "base/class_conditional_normal"}},
        r"base: needs a context of classes without an encoder",
    ),
    "a base of images": (through("encoder/mlp", [4]), {"base": NORMAL}, r"base: .*here it reads the context, \[16\]"),
    "nobody reads it": (through("encoder/mlp", [4]), {"flow": [{"use": "glow/actnorm"}]}, "no step of this flow reads"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    context, sections, message = REFUSED[name]
    flowkit.register("mine/shapes", Shapes, "nowhere:Shapes")
    with pytest.raises(SpecError) as caught:
        read_spec(json.dumps(source(context, **sections)))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_the_schema_asks_for_one_where_it_is_needed() -> None:
    validator = jsonschema.Draft7Validator(json_schema(Registry.discover()))
    assert validator.is_valid(source(through("encoder/gru", [4, 2])))
    assert not validator.is_valid(source({"shape": [4, 2]}))
    assert not validator.is_valid(source(through("encoder/gru", [4, 2], hiden=3)))


def test_without_one_the_hash_is_what_it_was() -> None:
    plain = read_spec(source({"shape": [3]}))
    assert canonical(plain)["context"] == {"shape": [3]}
    assert model_hash(plain) == model_hash(read_spec(source({"shape": [3], "encoder": None})))
    hashes = {model_hash(read_spec(source(through("encoder/mlp", [3], features=n)))) for n in (1, 2)}
    assert len({model_hash(plain), *hashes}) == 3


def test_a_table_s_columns_are_its_context() -> None:
    columns = {"use": "data/table", "path": "x.csv", "event": [{"column": "a"}, {"column": "b"}]}
    data = {**columns, "context": [{"column": "c", "kind": "category", "categories": ["x", "y", "z"]}]}
    assert context_shape(read_spec(source(through("encoder/mlp", [3], features=2), data=data)).context) == (2,)
    made = r"its columns make context.shape: \[3\], and the spec has context"
    with pytest.raises(SpecError, match=rf"{made}.shape: \[4\]\n *Write context.shape: \[3\]"):
        read_spec(source(through("encoder/mlp", [4]), data=data))
    with pytest.raises(SpecError, match=rf"{made}.classes: 4\n *Write context.shape: \[3\]"):
        read_spec(source({"classes": 4, "encoder": {"use": "encoder/mlp"}}, data=data))


def test_a_preprocessing_that_is_none() -> None:
    flowkit.register("mine/odd", type("Odd", (DatasetConfig,), {"preprocessing": lambda self: 3}), "nowhere:Odd")
    with pytest.raises(SpecError, match=r"data: plugin mine/odd.*: its preprocessing fails: AttributeError"):
        read_spec(source({"shape": [3]}, data={"use": "mine/odd"}))


@pytest.mark.parametrize("form", ["table", "json", "dot", "svg"])
def test_it_is_shown(tmp_path: Path, form: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(source(through("encoder/deep_set", [100, 2], features=8))))
    shown = CliRunner().invoke(app, ["show", str(path), "--format", form])
    assert shown.exit_code == 0 and "encoder/deep_set" in shown.stdout
    if form == "json":
        facts = json.loads(shown.stdout)
        assert facts["encoder"]["input_shape"] == [100, 2] and facts["encoder"]["output_shape"] == [8]
        assert facts["parameters"] == facts["encoder"]["parameters"] + sum(s["parameters"] for s in facts["steps"])


def test_torch_is_not_needed(tmp_path: Path) -> None:
    text = json.dumps(source(through("encoder/gru", [100, 2])))
    code = f"import sys\nfrom flowkit.spec import read_spec\nread_spec({text!r})\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
