"""Translates erfc and what is made of it, right as a share of its value in the tails.

torch.onnx writes 1 - erf(x), which has no digit left there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from onnxscript import ir
from onnxscript import opset18 as op

from flowkit.export.elementary import log1p, number

TERMS = {ir.DataType.DOUBLE: 24}
"""The number of terms of the series above the rounding of a type. It is 13 for every type that is not listed."""
SCALE = 2.0**40
"""The series is summed so many times as large: onnxscript's optimizer drops the addition of constants below 1e-8."""
LARGEST = 64.0
"""Beyond this z, e^(-z²/2) is 0 in fp64. Infinity itself would give inf - inf."""


def erfc(x: Any) -> Any:
    """Return 1 - erf(x), which is 2 - erfc(|x|) where x is negative."""
    tail = _complement(x, 1.0)
    return op.Where(_negative(x), op.Sub(number(2, x), tail), tail)


def erfcx(x: Any) -> Any:
    """Return e^(x²) erfc(x), which is 2 e^(x²) - erfcx(|x|) where x is negative."""
    tail, square = _scaled(op.Abs(x), x), op.Exp(op.Mul(x, x))
    return op.Where(_negative(x), op.Sub(op.Mul(number(2, x), square), tail), tail)


def log_ndtr(x: Any) -> Any:
    """Return the logarithm of the standard normal distribution function, erfc(-x / √2) / 2.

    Where x is negative it is log(erfcx(|x| / √2) / 2) - x²/2, which never underflows.
    """
    half = number(0.5, x)
    scaled = _scaled(op.Mul(op.Abs(x), number(math.sqrt(0.5), x)), x)
    left = op.Sub(op.Log(op.Mul(half, scaled)), op.Mul(half, op.Mul(x, x)))
    beyond = op.Mul(half, _complement(x, 0.5))
    return op.Where(_negative(x), left, log1p(op.Neg(beyond), x))


def _negative(x: Any) -> Any:
    return op.Less(x, number(0, x))


def _complement(x: Any, a: float) -> Any:
    """Return erfc(√a z) = e^(-a z²) erfcx(√a z) for z = |x|.

    With w the next lower multiple of 1/16, z² = w² + (z - w)(z + w), and w² is exact (Cody 1969): the rounding of z²
    alone would cost a factor e^(ε z²). The root of e^(-a w²) is multiplied in at both ends, as e^(-a w²) itself has few
    digits where it is near the smallest number of its type.
    """
    largest, sixteen = number(LARGEST, x), number(16, x)
    z = op.Abs(x)
    z = op.Where(op.Greater(z, largest), largest, z)
    w = op.Div(op.Floor(op.Mul(z, sixteen)), sixteen)
    root = op.Exp(op.Mul(number(-a / 2, x), op.Mul(w, w)))
    rest = op.Exp(op.Mul(number(-a, x), op.Mul(op.Sub(z, w), op.Add(z, w))))
    scaled = _scaled(op.Mul(number(math.sqrt(a), x), z), x)
    return op.Mul(op.Mul(op.Mul(root, rest), scaled), root)


def _scaled(z: Any, x: Any) -> Any:
    """Return erfcx(z) for z ≥ 0, in the type of x.

    It is t times a Chebyshev series in t = 2 / (2 + z), by Clenshaw's recurrence.
    """
    two = number(2, x)
    t = op.Div(two, op.Add(two, z))
    u = op.Sub(op.Mul(two, t), number(1, x))  # from -1 to 1
    twice = op.Mul(two, u)
    first, *others = (number(SCALE * c, x) for c in SERIES[: TERMS.get(x.dtype, 13)])
    b, before = others.pop(), number(0, x)
    for c in reversed(others):
        b, before = op.Add(op.Sub(op.Mul(twice, b), before), c), b
    return op.Mul(op.Mul(op.Add(op.Sub(op.Mul(u, b), before), first), number(1 / SCALE, x)), t)


def _over_t(t: np.ndarray) -> Any:
    """Return erfcx(z) / t, smooth from t = 1, where z is 0, to t = 0, where z is infinite."""
    return (torch.special.erfcx(torch.from_numpy(2 / t - 2)) / torch.from_numpy(t)).numpy()


SERIES: list[float] = Chebyshev.interpolate(_over_t, TERMS[ir.DataType.DOUBLE] - 1, domain=[0, 1]).coef.tolist()
