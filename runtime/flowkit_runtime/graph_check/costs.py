"""Computes how many values an operator holds, and how much work it takes."""

from __future__ import annotations

import math

from flowkit_runtime.graph_check.computing import labels
from flowkit_runtime.graph_check.sizes import NodeCall, SizedShape, each, elements


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
