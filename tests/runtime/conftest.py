"""A hand-made bundle: z = (x - 8) / 4 - shift(context), split into the rows of a 2 x 2 image."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flowkit_runtime.bundle import FORMAT, sealed

CENTER, SCALE = 8.0, 4.0
EVENT, LATENT = ["n", 1, 2, 2], ["n", 1, 1, 2]
OPSET = 20
LOG_PROB_AT_CENTER = -2 * np.log(2 * np.pi) - 4 * np.log(SCALE)

Context = dict[str, Any] | None
MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a bundle; keywords replace fields of its manifest."""
    return functools.partial(write_bundle, tmp_path)


def write_bundle(
    place: Path, *, levels: int | None = 17, context: Context = None, noise: Any = None, **fields: Any
) -> Path:
    if noise is not None:
        onnx.save(_base(context), place / "base.onnx")
    onnx.save(_encoder(context), place / "encode.onnx")
    onnx.save(_decoder(context), place / "decode.onnx")
    (place / "spec.yaml").write_text("flow: []\n")
    (place / "lock.json").write_text("{}\n")
    np.savez(place / "reference.npz", x=np.zeros((1, 1, 2, 2), np.float32))
    manifest = {
        "format": FORMAT,
        "flowkit": "0.1.0",
        "model": "0" * 64,
        "event": {"shape": [1, 2, 2], "levels": levels},
        "context": context,
        "latents": [[1, 1, 2], [1, 1, 2]],
        "bases": 2 * ["base/standard_normal"],
        "noise": noise,
        "dequantization": None,
        "likelihood": "exact",
        "weights": "ema",
        "opset": OPSET,
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in place.iterdir()
            if path.name != "manifest.json"
        },
        "verification": {},
    }
    (place / "manifest.json").write_bytes(sealed(manifest | fields))
    return place


def _encoder(context: Context) -> onnx.ModelProto:
    nodes = [
        *_shift(context),
        helper.make_node("Sub", ["x", "center"], ["moved"]),
        helper.make_node("Div", ["moved", "scale"], ["unit"]),
        helper.make_node("Sub", ["unit", "shift"], ["z"]),
        helper.make_node("Split", ["z"], ["z_1", "z_2"], axis=2, num_outputs=2),
        helper.make_node("Mul", ["z", "z"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axes"], ["energy"], keepdims=0),
        helper.make_node("Div", ["energy", "minus_two"], ["exponent"]),
        helper.make_node("Add", ["exponent", "normalizer"], ["log_prob"]),
    ]
    outputs = [_value("z_1", LATENT), _value("z_2", LATENT), _value("log_prob", ["n"])]
    return _model(nodes, [_value("x", EVENT)], outputs, context)


def _decoder(context: Context) -> onnx.ModelProto:
    nodes = [
        *_shift(context),
        helper.make_node("Concat", ["z_1", "z_2"], ["z"], axis=2),
        helper.make_node("Add", ["z", "shift"], ["unit"]),
        helper.make_node("Mul", ["unit", "scale"], ["moved"]),
        helper.make_node("Add", ["moved", "center"], ["x"]),
    ]
    return _model(nodes, [_value("z_1", LATENT), _value("z_2", LATENT)], [_value("x", EVENT)], context)


def _base(context: Context) -> onnx.ModelProto:
    """z_1 = u, z_2 = ε + u + shift(context), of uniform noise u and normal noise ε, both [1, 1, 2]."""
    nodes = [
        *_shift(context),
        helper.make_node("Identity", ["noise_1"], ["z_1"]),
        helper.make_node("Add", ["noise_1", "noise_2"], ["both"]),
        helper.make_node("Add", ["both", "shift"], ["z_2"]),
    ]
    noise = [_value(name, LATENT) for name in ("noise_1", "noise_2")]
    return _model(nodes, noise, [_value("z_1", LATENT), _value("z_2", LATENT)], context)


def _shift(context: Context) -> list[onnx.NodeProto]:
    if context is None:
        return [helper.make_node("Identity", ["zero"], ["shift"])]
    cast = helper.make_node("Cast", ["context"], ["float_context"], to=TensorProto.FLOAT)
    total = ["float_context"]
    nodes = [cast]
    if "shape" in context:
        total = ["total_context"]
        nodes.append(helper.make_node("ReduceSum", ["float_context", "last_axis"], total, keepdims=0))
    return [*nodes, helper.make_node("Reshape", [*total, "rows"], ["shift"])]


def _model(nodes: Any, inputs: Any, outputs: Any, context: Context) -> onnx.ModelProto:
    if context is not None and "classes" in context:
        inputs = [*inputs, helper.make_tensor_value_info("context", TensorProto.INT64, ["n"])]
    elif context is not None:
        inputs = [*inputs, _value("context", ["n", *context["shape"]])]
    constants = {
        "center": np.float32(CENTER),
        "scale": np.float32(SCALE),
        "zero": np.float32(0),
        "minus_two": np.float32(-2),
        "normalizer": np.float32(LOG_PROB_AT_CENTER),
        "axes": np.array([1, 2, 3]),
        "last_axis": np.array([1]),
        "rows": np.array([-1, 1, 1, 1]),
    }
    used = constants.keys() & {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(np.asarray(constants[name]), name) for name in sorted(used)]
    graph = helper.make_graph(nodes, "flow", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
