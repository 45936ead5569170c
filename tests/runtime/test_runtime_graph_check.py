"""Sizes that are followed through a graph are those that onnxruntime gives; attacks are in tests/security."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from flowkit_runtime.graph_check import RULES, check_graph, proto
from flowkit_runtime.graph_check.check import _Check
from flowkit_runtime.graph_check.reading import _ATTRIBUTE_TYPES, read_graph
from flowkit_runtime.graph_check.sizes import PerRow, Value, each

BATCH, EVENT = 3, (4, 6, 6)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


IMAGE_NORM = (ones(4), ones(4))
# operator, its inputs (x is the event [n, 4, 6, 6], v its first channel's first row [n, 6]), attributes
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Add", ["x", ones(4, 1, 1)], {}),
    ("Where", [np.array(True), "x", ones(1)], {}),
    ("Clip", ["x", "", np.float32(1)], {}),
    ("Cast", ["x"], {"to": 7}),
    ("Softmax", ["x"], {"axis": 1}),
    ("LayerNormalization", ["x", ones(6)], {}),
    ("GroupNormalization", ["x", ones(2), ones(2)], {"num_groups": 2}),
    ("InstanceNormalization", ["x", *IMAGE_NORM], {}),
    ("BatchNormalization", ["x", *IMAGE_NORM, *IMAGE_NORM], {}),
    ("ReduceSum", ["x", ints(1, -1)], {"keepdims": 0}),
    ("ReduceMax", ["x", ints(2)], {}),
    ("ReduceMean", ["x"], {"keepdims": 0}),
    ("ArgMax", ["x"], {"axis": 1, "keepdims": 0}),
    ("MatMul", ["x", ones(6, 5)], {}),
    ("MatMul", ["v", ones(6)], {}),
    ("Gemm", ["v", ones(5, 6)], {"transB": 1}),
    ("Conv", ["x", ones(8, 4, 3, 3)], {"pads": [1, 1, 1, 1]}),
    ("Conv", ["x", ones(8, 2, 3, 3)], {"group": 2, "strides": [2, 2], "dilations": [2, 1]}),
    ("Conv", ["x", ones(8, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("ConvTranspose", ["x", ones(4, 5, 3, 3)], {"strides": [2, 2], "output_padding": [1, 1]}),
    ("ConvTranspose", ["x", ones(4, 5, 3, 3)], {"pads": [1, 1, 1, 1]}),
    ("MaxPool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", ["x"], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", ["x"], {"kernel_shape": [1, 1], "strides": [7, 7], "ceil_mode": 1}),
    ("MaxPool", ["x"], {"kernel_shape": [2, 2], "dilations": [3, 3], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", [ones(1, 1, 2)], {"kernel_shape": [3], "strides": [7]}),
    ("GlobalAveragePool", ["x"], {}),
    ("Einsum", ["x", ones(4, 7)], {"equation": "bchw,cd->bdhw"}),
    ("Resize", ["x", "", np.array([1, 1, 2, 2], np.float32)], {}),
    ("Resize", ["x", "", "", ints(7, 9)], {"axes": [2, 3]}),
    ("GridSample", ["x", ones(BATCH, 2, 5, 2)], {}),
    ("DFT", [ones(2, 8, 1), "", np.int64(1)], {"onesided": 1}),
    ("DFT", [ones(2, 5, 8, 2), np.int64(6), np.int64(2)], {}),
    ("Det", ["x"], {}),
    ("LSTM", [ones(5, 2, 4), ones(1, 12, 4), ones(1, 12, 3)], {"hidden_size": 3}),
    ("TopK", ["x", ints(2)], {"axis": 1}),
    ("Reshape", ["x", ints(0, -1)], {}),
    ("Reshape", ["x", ints(-1, 6)], {}),
    ("Reshape", ["x", ints(-1)], {}),
    ("Flatten", ["x"], {"axis": 2}),
    ("Transpose", ["x"], {"perm": [2, 0, 1, 3]}),
    ("Squeeze", [ones(1, 2, 1), ints(2)], {}),
    ("Unsqueeze", ["v", ints(0, -1)], {}),
    ("Expand", ["v", ints(5, 1, 6)], {}),
    ("Tile", ["v", ints(2, 3)], {}),
    ("Concat", ["v", "v"], {"axis": 1}),
    ("Concat", ["v", "v"], {"axis": 0}),
    ("Slice", ["x", ints(-1, 1), ints(-(2**63), 5), ints(1, 3), ints(-1, 2)], {}),
    ("Slice", ["x", ints(1), ints(2**62), ints(0)], {}),
    ("Slice", ["x", ints(-9), ints(-9), ints(1), ints(-1)], {}),
    ("Split", ["x", ints(1, 3)], {"axis": 1}),
    ("Split", ["x"], {"axis": 2, "num_outputs": 2}),
    ("Gather", ["x", ints(0, 2)], {"axis": 1}),
    ("Gather", ["x", np.int64(0)], {"axis": 2}),
    ("GatherND", [ones(4, 6), ints(0, 1).reshape(2, 1)], {}),
    ("GatherElements", [ones(2, 2), ints(0, 1).reshape(1, 2)], {}),
    ("Pad", ["x", ints(0, 0, 1, 2, 0, 0, 3, 0)], {}),
    ("Pad", ["x", ints(1, 2), "", ints(-1)], {"mode": "reflect"}),
    ("DepthToSpace", ["x"], {"blocksize": 2}),
    ("SpaceToDepth", ["x"], {"blocksize": 3}),
    ("Shape", ["x"], {"start": 1}),
    ("Size", ["x"], {}),
    ("ConstantOfShape", [ints(2, 3)], {}),
    ("Range", [np.int64(1), np.int64(9), np.int64(3)], {}),
    ("OneHot", [ints(0, 1), np.int64(5), ones(2)], {"axis": 0}),
    ("EyeLike", [ones(3, 4)], {}),
    ("Trilu", ["x"], {}),
    ("CumSum", ["x", np.int64(1)], {}),
    ("ScatterND", [ones(4, 6), ints(0, 1).reshape(2, 1), ones(2, 6)], {}),
]


def written(path: Path, nodes: list[onnx.NodeProto], outputs: list[str], constants: dict[str, Any]) -> bytes:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *EVENT])
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    made = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], ends, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(content := model.SerializeToString())
    return content


def followed(path: Path) -> dict[str, Value]:
    return _Check(10**6, 1024).graph(read_graph(path), {"x": Value(1, (PerRow(1), *EVENT))})


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_sizes_are_those_that_onnxruntime_gives(tmp_path, operator, inputs, attributes):
    constants = {f"c{i}": given for i, given in enumerate(inputs) if not isinstance(given, str)}
    names = [given if isinstance(given, str) else f"c{i}" for i, given in enumerate(inputs)]
    outputs = ["y", "z"][: 2 if operator in ("Split", "TopK") else 1]
    row = (
        helper.make_node("Gather", ["x", "zeros"], ["w"], axis=1),
        helper.make_node("Gather", ["w", "zeros"], ["v"], axis=1),
    )
    nodes = [*row, helper.make_node(operator, names, outputs, **attributes)]
    content = written(tmp_path / "g.onnx", nodes, outputs, {**constants, "zeros": np.int64(0)})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    results = session.run(outputs, {"x": np.ones((BATCH, *EVENT), np.float32)})
    values = followed(tmp_path / "g.onnx")
    for name, result in zip(outputs, results, strict=True):
        shape = [each(size) * (BATCH if isinstance(size, PerRow) else 1) for size in values[name].shape]
        assert len(shape) == result.ndim and values[name].kind == helper.np_dtype_to_tensor_dtype(result.dtype)
        if values[name].exact:
            assert shape == list(result.shape)
        assert all(bound >= size for bound, size in zip(shape, result.shape, strict=True))
        if values[name].values is not None:
            assert [each(k) * (BATCH if isinstance(k, PerRow) else 1) for k in values[name].values.ravel()] == [
                *result.flat
            ]


@pytest.mark.parametrize(("scale", "exact"), [(2, True), (1.25, False)])
def test_a_size_is_known_where_its_scale_gives_a_whole_number(tmp_path, scale, exact):
    scales = np.array([1, 1, scale, scale], np.float32)
    written(tmp_path / "g.onnx", [helper.make_node("Resize", ["x", "", "s"], ["y"])], ["y"], {"s": scales})
    assert followed(tmp_path / "g.onnx")["y"].exact is exact


def test_numbers_of_fields_are_those_of_onnx():
    messages = [each for each in vars(proto).values() if isinstance(each, type)]
    for message in messages:
        fields = getattr(onnx, message.__name__).DESCRIPTOR.fields_by_name
        numbers = {name: number for name, number in vars(message).items() if name.isupper()}
        assert numbers == {name: fields[name.lower()].number for name in numbers}
    assert len(messages) == 7 and all(helper.tensor_dtype_to_np_dtype(kind) for kind in proto.DTYPES)
    assert set(onnx.AttributeProto.AttributeType.values()) == set(_ATTRIBUTE_TYPES)


def test_most_operators_are_tried():
    assert set(RULES) >= {operator for operator, *_ in CASES}


def test_shapes_that_are_computed_are_followed(tmp_path):
    """[n, 4, 6, 6] as [n * 4, 36], from the shape itself, as torch.onnx writes it."""
    each_node = [
        ("Shape", ["x"], ["s"]),
        ("Gather", ["s", "zero"], ["n"]),
        ("Gather", ["s", "one"], ["c"]),
        ("Mul", ["n", "c"], ["nc"]),
        ("Cast", ["nc"], ["nc64"]),
        ("Reshape", ["nc64", "one"], ["rows"]),
        ("Concat", ["rows", "rest"], ["shape"]),
        ("Reshape", ["x", "shape"], ["y"]),
    ]
    attributes: dict[str, dict[str, int]] = {"Cast": {"to": 7}, "Concat": {"axis": 0}}
    nodes = [helper.make_node(*node, **attributes.get(node[0], {})) for node in each_node]
    written(tmp_path / "g.onnx", nodes, ["y"], {"zero": ints(0), "one": ints(1), "rest": ints(-1)})
    assert followed(tmp_path / "g.onnx")["y"].shape == (PerRow(4), 36)
    check_graph(tmp_path / "g.onnx", {"x": (1, EVENT)})
