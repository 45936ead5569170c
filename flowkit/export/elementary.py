"""Operators that torch.onnx writes in a way that onnxruntime computes slowly or wrongly, written in another way."""

from __future__ import annotations

from typing import Any

from onnxscript import ir
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
    weight = number(weight, start) if isinstance(weight, int | float) else weight
    return op.Add(op.Mul(op.Sub(number(1, start), weight), start), op.Mul(weight, end))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x). onnxruntime's own is right to 1e-7, however small the value: 0.1% off at x = -11, 17% at -15.

    A scale has to be right as a share of itself.
    """
    one = number(1, x)
    return op.Div(one, op.Add(one, op.Exp(op.Neg(x))))


def log_sigmoid(x: Any) -> Any:
    """-log(1 + e^-x), not the logarithm of that sigmoid."""
    return op.Neg(_softplus(op.Neg(x), number(1, x), number(20, x)))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^βx) / β, for torch x itself beyond a threshold: onnxruntime's own takes three times as long."""
    one, limit = number(1, x), number(threshold, x)
    if beta == 1:
        return _softplus(x, one, limit)
    return op.Div(_softplus(op.Mul(x, number(beta, x)), one, limit), number(beta, x))


def _softplus(x: Any, one: Any, limit: Any) -> Any:
    """With e = e^x and w = 1 + e as rounded, log(1 + e) = log w + (e - (w - 1)) / w: the second term is what the
    rounding lost, all that there is where e is small."""
    e = op.Exp(x)
    w = op.Add(e, one)
    smooth = op.Add(op.Log(w), op.Div(op.Sub(e, op.Sub(w, one)), w))
    return op.Where(op.Greater(x, limit), x, smooth)


def expm1(x: Any) -> Any:
    """e^x - 1 = tanh(x / 2) (e^x + 1), right to rounding near 0, where torch.onnx's e^x - 1 has no digit left."""
    return op.Mul(op.Tanh(op.Div(x, number(2, x))), op.Add(op.Exp(x), number(1, x)))


def log1p(x: Any, like: Any = None) -> Any:
    """log(1 + x), where torch.onnx's logarithm of 1 + x has no digit left near 0; ``like`` has the type, if x has none.

    With w = 1 + x as rounded, x log(w) / (w - 1): the error of w cancels (Goldberg 1991, theorem 4).
    """
    like = x if like is None else like
    one = number(1, like)
    w = op.Add(x, one)
    far, lost = op.Log(w), op.Sub(w, one)
    near = op.Where(op.Equal(w, one), x, op.Div(op.Mul(x, far), lost))
    return op.Where(op.Less(op.Abs(x), number(0.5, like)), near, far)


def number(value: float, x: Any) -> Any:
    """A constant of the type of x. (Beside what has no type yet, a Python number becomes fp32.)"""
    return op.Constant(value=ir.to_proto(ir.tensor(value, dtype=x.dtype)))
