"""What torch.onnx writes in a way that onnxruntime is slow with, written in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op


def softmax(x: Any, dim: int, dtype: int = -1) -> Any:
    """Over a dimension that isn't the last, onnxruntime's own brings that one last, and back: it takes 6 times as long.

    ``dtype`` is ONNX's number of the type to compute in, -1 for that of x.
    """
    last = len(x.shape) - 1
    x = op.Cast(x, to=dtype) if dtype != -1 else x
    if dim in (-1, last):
        return op.Softmax(x, axis=-1)
    over: Any = op.Constant(value_ints=[dim])
    powers = op.Exp(op.Sub(x, op.ReduceMax(x, over)))
    return op.Div(powers, op.ReduceSum(powers, over))


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """(1 - w) start + w end, either term right to rounding; torch.onnx writes two forms and a choice, 7 nodes."""
    return op.Add(op.Mul(op.Sub(1.0, weight), start), op.Mul(weight, end))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.softmax.int: softmax,
    torch.ops.aten.lerp.Tensor: lerp,
}
