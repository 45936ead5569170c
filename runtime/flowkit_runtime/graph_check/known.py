"""Computes what is known of an operator's outputs before the graph runs: types, integers, and the amount of work."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from flowkit_runtime.graph_check.computing import labels
from flowkit_runtime.graph_check.moving import dimensions
from flowkit_runtime.graph_check.proto import BOOL, FLOAT, INT32, INT64
from flowkit_runtime.graph_check.reading import Tensor
from flowkit_runtime.graph_check.sizes import Known, NodeCall, PerRow, SizedShape, each, elements
from flowkit_runtime.graph_check.wire import MAX_VALUES

_OVERFLOW = 2**31
"""The bound on the absolute value of integers that are followed. Larger ones would overflow in int32."""

# Types

_KINDS = {
    **dict.fromkeys(("ArgMax", "ArgMin", "Shape", "Size"), INT64),
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"), BOOL),
    **dict.fromkeys(("Not", "Or", "Xor"), BOOL),
}
_TYPED_BY = {"CastLike": 1, "OneHot": 2, "Where": 1}
"""The index of the input that determines the output's type, if it isn't the first."""


def kind(call: NodeCall, output: int = 0) -> int:
    """Return ONNX's number for the type of an output."""
    name = call.node.operator
    if name in _KINDS:
        return _KINDS[name]
    if name == "Cast":
        return int(call.attribute("to", FLOAT))
    if name == "EyeLike" and "dtype" in call.node.attributes:
        return int(call.attribute("dtype", FLOAT))
    if name == "ConstantOfShape":
        value = call.attribute("value", None)
        return value.kind if isinstance(value, Tensor) else FLOAT
    if name in ("TopK", "MaxPool") and output == 1:
        return INT64
    return call.given(_TYPED_BY.get(name, 0)).kind


# Integers

_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Abs": np.absolute,
    "Add": operator.add,
    "Div": operator.floordiv,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": operator.mul,
    "Sub": operator.sub,
}


def known(call: NodeCall, shape: SizedShape, kind: int) -> Known | None:
    """Return the values of the output, if they are a few integers that follow from those of the inputs.

    Otherwise return None.
    """
    sizes = tuple(size for size in shape if isinstance(size, int))
    if kind not in (INT32, INT64) or sizes != shape or math.prod(sizes) > MAX_VALUES:
        return None
    try:
        values = _computed(call, sizes)
    except (TypeError, ValueError, IndexError):  # sizes that grow with the batch can't be compared or added
        return None
    if values is None or values.shape != shape or not all(abs(each(v)) < _OVERFLOW for v in values.ravel()):
        return None
    return values


def _computed(call: NodeCall, shape: tuple[int, ...]) -> Known | None:
    name = call.node.operator
    if name in ("Shape", "Size"):
        return _sizes(call)
    if name == "ConstantOfShape":
        value = call.attribute("value", None)
        return None if value is None or value.values is None else np.full(shape, value.values.item(), np.object_)
    given = [call.known(i) for i in range(len(call.inputs))]
    if not given or any(array is None for array in given):
        return None
    first, *rest = [array for array in given if array is not None]
    if name in _ARITHMETIC:
        if name == "Div" and any(isinstance(n, int) and n < 0 for n in first.ravel()):
            return None  # ONNX rounds towards zero
        return np.asarray(_ARITHMETIC[name](first, *rest), object)
    if name in ("Cast", "Identity"):
        integers = all(isinstance(n, int | PerRow) and not isinstance(n, bool) for n in first.ravel())
        return first if integers else None
    if name in ("Reshape", "Squeeze", "Unsqueeze"):
        return first.reshape(shape)
    if name == "Expand":
        return np.broadcast_to(first, shape)
    if name == "Concat":
        return np.concatenate([first, *rest], axis=call.attribute("axis", 0))
    if name == "Gather":
        return np.asarray(np.take(first, rest[0].astype(np.int64), axis=call.attribute("axis", 0)), object)
    if name == "Slice" and first.ndim == 1:
        start, end, *axis_and_step = (array.ravel()[0] for array in rest)
        return first[slice(start, end, axis_and_step[1] if len(axis_and_step) > 1 else 1)]
    return None


def _sizes(call: NodeCall) -> Known | None:
    if not call.given(0).exact:
        return None
    sizes = dimensions(call)
    if call.node.operator == "Shape":
        values = np.empty(len(sizes), object)
        values[:] = sizes
        return values
    total = elements(call.shape())
    return np.array(PerRow(total) if any(isinstance(size, PerRow) for size in sizes) else total, object)


# Memory and work


def held(call: NodeCall, output: SizedShape) -> int:
    """Return how many values an operator holds: those of the output, or of a larger intermediate result."""
    name, made = call.node.operator, elements(output)
    if name == "Attention":  # the weight of each key for each query
        heads = call.attribute("q_num_heads", 1) if len(output) == 3 else 1
        return max(made, elements(call.shape()[:-1]) * heads * each(call.shape(1)[-2]))
    if name == "ConvTranspose":  # each position times the kernels
        return max(made, elements(call.shape()[2:]) * elements(call.shape(1)[1:]))
    if name == "Einsum" and len(call.inputs) > 2:  # the product of the first two may have all labels
        return work(call, output)
    return made


_SORTED, _INTERPOLATED = 32, 64
"""The number of operations for each value that TopK sorts, and for each that Resize or GridSample interpolates."""


def work(call: NodeCall, output: SizedShape) -> int:
    """Return roughly how many multiplications, or operations of similar cost, an operator needs for such an output."""
    name, made = call.node.operator, elements(output)
    if name == "MatMul":
        return made * each(call.shape()[-1])
    if name == "Gemm":
        return made * each(call.shape()[0 if call.attribute("transA", 0) else 1])
    if name in ("Conv", "ConvTranspose"):
        return (made if name == "Conv" else elements(call.shape())) * elements(call.shape(1)[1:])
    if name == "Einsum":
        sizes, _ = labels(call)
        return elements(tuple(sizes.values()))
    if name in ("DFT", "Det"):
        return elements(call.shape()) * max(map(each, call.shape()))
    if name in ("GRU", "LSTM", "RNN"):
        return elements(call.shape()[:2]) * (elements(call.shape(1)) + elements(call.shape(2)))
    if name == "Attention":
        return (elements(call.shape()) + made) * each(call.shape(1)[-2])
    if name.startswith(("Reduce", "Arg", "Global")):
        return elements(call.shape())
    if name in ("AveragePool", "LpPool", "MaxPool"):
        return made * math.prod(call.attribute("kernel_shape", []))
    if name == "TopK":
        return elements(call.shape()) * _SORTED
    return made * (_INTERPOLATED if name in ("GridSample", "Resize") else 1)
