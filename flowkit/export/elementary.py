"""Translates operators for which torch.onnx writes what onnxruntime computes slowly or wrongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnxscript import ir
from onnxscript import opset18 as op


def softmax(x: Any, dim: int, dtype: int = -1) -> Any:
    """Translate a softmax over any dimension.

    For a dimension that isn't the last, onnxruntime's own transposes there and back, and takes 6 times as long.

    ``dtype`` is ONNX's number of the type to compute in, -1 for that of x.
    """
    last = len(x.shape) - 1
    x = op.Cast(x, to=dtype) if dtype != -1 else x
    if dim in (-1, last):
        return op.Softmax(x, axis=-1)
    over: Any = op.Constant(value_ints=[dim])
    powers = op.Exp(op.Sub(x, op.ReduceMax(x, over)))
    return op.Div(powers, op.ReduceSum(powers, over))


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Translate attention over any dimensions. torch.onnx takes those with heads alone, [batch, heads, n, features].

    ``dropout_p`` has no effect, as networks are exported in evaluation.
    """
    dims, n, features = len(query.shape), query.shape[-2], query.shape[-1]
    if enable_gqa:
        raise NotImplementedError("attention with fewer heads of keys than of queries: repeat the keys and values")
    scaled = op.Mul(query, number(1 / math.sqrt(features) if scale is None else scale, query))
    scores = op.MatMul(scaled, op.Transpose(key, perm=[*range(dims - 2), dims - 1, dims - 2]))
    if is_causal:
        triangle = ir.tensor(np.triu(np.ones((n, key.shape[-2]), bool), 1))
        later: Any = op.Constant(value=ir.to_proto(triangle))
        scores = op.Where(later, number(-math.inf, query), scores)
    elif attn_mask is not None and attn_mask.dtype == ir.DataType.BOOL:
        scores = op.Where(attn_mask, scores, number(-math.inf, query))
    elif attn_mask is not None:
        scores = op.Add(scores, attn_mask)
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """Return (1 - w) start + w end, with both terms right to rounding. torch.onnx writes 7 nodes, with a choice."""
    weight = number(weight, start) if isinstance(weight, int | float) else weight
    return op.Add(op.Mul(op.Sub(number(1, start), weight), start), op.Mul(weight, end))


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x), right as a share of its value, as a scale has to be.

    onnxruntime's own has an error of up to 1e-7 however small the value: it is 0.1% off at x = -11, 17% at x = -15.
    """
    one = number(1, x)
    return op.Div(one, op.Add(one, op.Exp(op.Neg(x))))


def log_sigmoid(x: Any) -> Any:
    """Return -log(1 + e^-x), which has more digits than the logarithm of the sigmoid."""
    return op.Neg(_softplus(op.Neg(x), number(1, x), number(20, x)))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Return log(1 + e^βx) / β, and x beyond a threshold, as torch does. onnxruntime's takes three times as long."""
    one, limit = number(1, x), number(threshold, x)
    if beta == 1:
        return _softplus(x, one, limit)
    return op.Div(_softplus(op.Mul(x, number(beta, x)), one, limit), number(beta, x))


def _softplus(x: Any, one: Any, limit: Any) -> Any:
    """Return log(1 + e^x), and x beyond the limit.

    With e = e^x and w = 1 + e as rounded, log(1 + e) = log w + (e - (w - 1)) / w. The second term is what the rounding
    lost. It is all that there is where e is small.
    """
    e = op.Exp(x)
    w = op.Add(e, one)
    smooth = op.Add(op.Log(w), op.Div(op.Sub(e, op.Sub(w, one)), w))
    return op.Where(op.Greater(x, limit), x, smooth)


def logaddexp(x: Any, y: Any) -> Any:
    """Return log(e^x + e^y) as max(x, y) + log(1 + e^-|x - y|).

    torch.onnx writes the logarithm of the sum, which is infinite beyond 89 and, beside y = 0, loses every x below -17.
    """
    return op.Add(op.Max(x, y), log1p(op.Exp(op.Neg(op.Abs(op.Sub(x, y)))), x))


def logsumexp(x: Any, dim: Sequence[int], keepdim: bool = False) -> Any:
    """Return log Σ e^x over dimensions as m + log Σ e^(x - m), where m is the largest x.

    OpenVINO computes ONNX's ReduceLogSumExp without m. Its result is infinite where all x are below -103 or above 88.
    """
    over: Any = op.Constant(value_ints=[*dim])
    largest = float(x.dtype.max)
    m = op.Clip(op.ReduceMax(x, over), number(-largest, x), number(largest, x))  # inf - inf would be nan
    total = op.Add(m, op.Log(op.ReduceSum(op.Exp(op.Sub(x, m)), over)))
    return total if keepdim else op.Squeeze(total, over)


def expm1(x: Any) -> Any:
    """Return tanh(x / 2) (e^x + 1) = e^x - 1. Near 0, where torch.onnx's e^x - 1 has no digit left, it is right."""
    return op.Mul(op.Tanh(op.Div(x, number(2, x))), op.Add(op.Exp(x), number(1, x)))


def log1p(x: Any, like: Any = None) -> Any:
    """Return log(1 + x). Near 0, where torch.onnx's logarithm of 1 + x has no digit left, it is right.

    ``like`` has the type, if x has none.

    With w = 1 + x as rounded, x log(w) / (w - 1): the error of w cancels (Goldberg 1991, theorem 4).
    """
    like = x if like is None else like
    one = number(1, like)
    w = op.Add(x, one)
    far, lost = op.Log(w), op.Sub(w, one)
    near = op.Where(op.Equal(w, one), x, op.Div(op.Mul(x, far), lost))
    return op.Where(op.Less(op.Abs(x), number(0.5, like)), near, far)


def number(value: float, x: Any) -> Any:
    """Return a constant of the type of x. A Python number would become fp32 beside a value that has no type yet."""
    return op.Constant(value=ir.to_proto(ir.tensor(value, dtype=x.dtype)))
