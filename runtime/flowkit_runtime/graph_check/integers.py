"""Computes the types of an operator's outputs, and their integers, as far as they are known before the graph runs."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from flowkit_runtime.graph_check.moving import dimensions
from flowkit_runtime.graph_check.proto import BOOL, FLOAT, INT32, INT64
from flowkit_runtime.graph_check.reading import Tensor
from flowkit_runtime.graph_check.sizes import KnownValues, NodeCall, PerRow, SizedShape, each, elements
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


def kind_of(call: NodeCall, output: int = 0) -> int:
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


def integers_of(call: NodeCall, shape: SizedShape, kind: int) -> KnownValues | None:
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


def _computed(call: NodeCall, shape: tuple[int, ...]) -> KnownValues | None:
    name = call.node.operator
    if name in ("Shape", "Size"):
        return _sizes(call)
    if name == "ConstantOfShape":
        value = call.attribute("value", None)
        return None if value is None or value.values is None else np.full(shape, value.values.item(), np.object_)
    given = [call.values(i) for i in range(len(call.inputs))]
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


def _sizes(call: NodeCall) -> KnownValues | None:
    if not call.given(0).exact:
        return None
    sizes = dimensions(call)
    if call.node.operator == "Shape":
        values = np.empty(len(sizes), object)
        values[:] = sizes
        return values
    total = elements(call.shape())
    return np.array(PerRow(total) if any(isinstance(size, PerRow) for size in sizes) else total, object)
