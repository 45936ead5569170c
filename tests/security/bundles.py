"""A bundle made by hand: z = x + w, w = 0, for events of two values."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flowkit_runtime.bundle import FORMAT, sealed
from flowkit_runtime.verification import GROUPS, QUANTITIES

W = numpy_helper.from_array(np.zeros(2, np.float32), "w")


def write_bundle(directory: Path) -> Path:
    directory.mkdir()
    manifest = {
        "format": FORMAT,
        "event": {"shape": [2], "levels": None},
        "context": None,
        "latents": [[2]],
        "bases": ["base/standard_normal"],
        "noise": None,
        "dequantization": None,
        "likelihood": "exact",
        "files": {},
        "torch_errors": dict.fromkeys(GROUPS, dict.fromkeys(QUANTITIES, 1e-7)),
    }
    (directory / "manifest.json").write_bytes(sealed(manifest))
    files = {"encode.onnx": encoder(), "decode.onnx": decoder(), "reference.npz": npz(), "lock.json": b"{}"}
    for name, content in (files | {"spec.yaml": b"flowkit: 1"}).items():
        put(directory, name, content)
    return directory


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest, its own checksum with it."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_bytes(sealed(manifest))


def put(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file, its checksum with it."""
    (bundle / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_manifest(bundle, lambda manifest: manifest["files"].update({name: digest}))


def alter_decoded(bundle: Path, operator: str, value: float) -> None:
    """Apply an operator, with this value, to all that the decoder gives, so that some events don't come back."""
    model = onnx.load(bundle / "decode.onnx")
    for node in model.graph.node:
        node.output[:] = ["unaltered" if name == "x" else name for name in node.output]
    model.graph.node.append(helper.make_node(operator, ["unaltered", "value"], ["x"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "value"))
    put(bundle, "decode.onnx", model.SerializeToString())


def encoder(*nodes: onnx.NodeProto, initializers: Any = (W,), **fields: Any) -> bytes:
    """z_1 = x + w, log_prob = Σ z_1, with further nodes in front. w is one of the initializers or made by a node."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])]
    outputs = [
        helper.make_tensor_value_info("z_1", TensorProto.FLOAT, ["batch", 2]),
        helper.make_tensor_value_info("log_prob", TensorProto.FLOAT, ["batch"]),
    ]
    rest = [
        helper.make_node("Add", ["x", "w"], ["z_1"]),
        helper.make_node("ReduceSum", ["z_1", "axes"], ["log_prob"], keepdims=0),
    ]
    axes = numpy_helper.from_array(np.array([1]), "axes")
    made = helper.make_graph([*nodes, *rest], "g", inputs, outputs, [axes, *initializers])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("evil", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10, **fields).SerializeToString()


def decoder() -> bytes:
    """x = z_1."""
    z, x = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("z_1", "x"))
    made = helper.make_graph([helper.make_node("Identity", ["z_1"], ["x"])], "g", [z], [x])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def npz(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """An .npz of good arrays, some of them replaced."""
    arrays = {name: np.zeros((8, 2)) for name in ("x", "z_1", "decoded")}
    arrays |= {"log_prob": np.zeros(8), "group": np.arange(8) % 3, "judged": np.ones(8)}
    with zipfile.ZipFile(stream := io.BytesIO(), "w", compression) as archive:
        for name, array in arrays.items():
            np.save(content := io.BytesIO(), array)
            archive.writestr(f"{name}.npy", members.pop(name, content.getvalue()))
        for name, replaced in members.items():
            archive.writestr(name, replaced)
    return stream.getvalue()
