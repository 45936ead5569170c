"""What torch.onnx writes in a way that onnxruntime is slow with, or wrong, written in another."""

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


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x). onnxruntime's own is right to 1e-7, however small the value: 0.1% off at x = -11, 17% at -15.

    A scale has to be right as a share of itself.
    """
    return op.Div(1.0, op.Add(1.0, op.Exp(op.Neg(x))))


def log_sigmoid(x: Any) -> Any:
    """-log(1 + e^-x), not the logarithm of that sigmoid."""
    return op.Neg(softplus(op.Neg(x)))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^βx) / β, for torch x itself beyond a threshold: onnxruntime's own takes three times as long.

    With e = e^βx and w = 1 + e as rounded, log(1 + e) = log w + (e - (w - 1)) / w: the second term is what the rounding
    lost, all that there is where e is small.
    """
    if beta != 1:
        return op.Div(softplus(op.Mul(x, float(beta)), threshold=threshold), float(beta))
    e = op.Exp(x)
    w = op.Add(e, 1.0)
    smooth = op.Add(op.Log(w), op.Div(op.Sub(e, op.Sub(w, 1.0)), w))
    return op.Where(op.Greater(x, float(threshold)), x, smooth)


def expm1(x: Any) -> Any:
    """e^x - 1 = tanh(x / 2) (e^x + 1), right to rounding near 0, where torch.onnx's e^x - 1 has no digit left."""
    return op.Mul(op.Tanh(op.Div(x, 2.0)), op.Add(op.Exp(x), 1.0))


def log1p(x: Any) -> Any:
    """log(1 + x), near 0 as 2 artanh(x / (x + 2)), where torch.onnx's logarithm of 1 + x has no digit left."""
    near = op.Mul(2.0, op.Atanh(op.Div(x, op.Add(x, 2.0))))
    return op.Where(op.Less(op.Abs(x), 0.5), near, op.Log(op.Add(x, 1.0)))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.softmax.int: softmax,
    torch.ops.aten.lerp.Tensor: lerp,
    torch.ops.aten.sigmoid.default: sigmoid,
    torch.ops.aten.log_sigmoid.default: log_sigmoid,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.expm1.default: expm1,
    torch.ops.aten.log1p.default: log1p,
}
