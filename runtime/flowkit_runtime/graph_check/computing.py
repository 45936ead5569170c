"""Computes the output shapes of operators that do arithmetic: products, convolutions, reductions and others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowkit_runtime.graph_check.sizes import NodeCall, PerRow, Size, SizedShape, broadcast, checked, each, together

_MOST = 2**31


def reduced(call: NodeCall) -> SizedShape:
    shape, axes = call.shape(), call.attribute("axes", [])
    if call.has(1):
        axes = call.numbers(1)
    if 0 in shape:
        call.wrong()  # onnxruntime divides by the number of values
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return shape
    return _without(call, axes or list(range(len(shape))))


def _without(call: NodeCall, axes: Sequence[Any]) -> SizedShape:
    shape, keep = call.shape(), call.attribute("keepdims", 1)
    places = {call.place(axis, len(shape)) for axis in axes}
    return tuple(1 if i in places else size for i, size in enumerate(shape) if keep or i not in places)


def arg(call: NodeCall) -> SizedShape:
    return _without(call, [call.attribute("axis", 0)])


def matmul(call: NodeCall) -> SizedShape:
    a, b = call.shape(0), call.shape(1)
    if not a or not b:
        call.wrong()
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return broadcast(a[:-2], b[:-2]) + rows + columns


def gemm(call: NodeCall) -> SizedShape:
    a, b = call.shape(0), call.shape(1)
    if len(a) != 2 or len(b) != 2:
        call.wrong()
    return a[1 if call.attribute("transA", 0) else 0], b[0 if call.attribute("transB", 0) else 1]


def conv(call: NodeCall) -> SizedShape:
    x, weight = call.shape(0), call.shape(1)
    if len(x) != len(weight) or len(x) < 3:
        call.wrong()
    return (x[0], weight[0], *_windows(call, x[2:], [each(size) for size in weight[2:]]))


def pool(call: NodeCall) -> list[SizedShape]:
    x, kernel = call.shape(), call.attribute("kernel_shape", [])
    if len(x) != len(kernel) + 2 or not kernel:
        call.wrong()
    return [(*x[:2], *_windows(call, x[2:], kernel))] * len(call.node.outputs)


def _windows(call: NodeCall, sizes: SizedShape, kernel: Sequence[int]) -> list[int]:
    """Return the number of positions of a window along each dimension. It is rounded up if the operator does so."""
    n = len(sizes)
    strides, dilations = call.attribute("strides", [1] * n), call.attribute("dilations", [1] * n)
    pads = call.attribute("pads", [0] * 2 * n)
    if len(strides) != n or len(dilations) != n or len(pads) != 2 * n:
        call.wrong()
    if call.attribute("auto_pad", b"NOTSET").startswith(b"SAME"):
        call.exact = call.exact and all(dilation == 1 for dilation in dilations)
        return [-(-each(size) // stride) for size, stride in zip(sizes, strides, strict=True)]
    reach = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    padded = [each(size) + before + after for size, before, after in zip(sizes, pads[:n], pads[n:], strict=True)]
    up = call.attribute("ceil_mode", 0)
    gaps = [(whole - r, stride) for whole, r, stride in zip(padded, reach, strides, strict=True)]
    # Windows that would begin after the end are left out, and onnxruntime gives 0 or 1 if a window is too large.
    call.exact = call.exact and not up and all(gap >= 0 for gap, _ in gaps)
    return [max(1, (-(-gap // stride) if up else gap // stride) + 1) for gap, stride in gaps]


def conv_transpose(call: NodeCall) -> SizedShape:
    x, weight = call.shape(0), call.shape(1)
    n, groups = len(x) - 2, call.attribute("group", 1)
    if n < 1 or len(weight) != len(x):
        call.wrong()
    kernel = [each(size) for size in weight[2:]]
    strides, dilations, more = (
        call.attribute(name, [value] * n) for name, value in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    if not len(strides) == len(dilations) == len(more) == n:
        call.wrong()
    own, pads = call.attribute("output_shape", []), call.attribute("pads", [0] * 2 * n)
    if len(pads) != 2 * n or min(pads) < 0:
        call.wrong()
    whole = [
        stride * (each(size) - 1) + (k - 1) * dilation + 1 + extra
        for size, k, stride, dilation, extra in zip(x[2:], kernel, strides, dilations, more, strict=True)
    ]
    if own or call.attribute("auto_pad", b"NOTSET") != b"NOTSET":
        call.exact = False
        return (x[0], each(weight[1]) * groups, *(own or whole))
    sizes = [max(0, size - before - after) for size, before, after in zip(whole, pads[:n], pads[n:], strict=True)]
    return (x[0], each(weight[1]) * groups, *sizes)


def einsum(call: NodeCall) -> SizedShape:
    sizes, output = labels(call)
    return tuple(sizes[label] for label in output)


def labels(call: NodeCall) -> tuple[dict[str, Size], str]:
    """Return the size of each label in an Einsum's equation, and the labels of its output."""
    equation = call.attribute("equation", b"").decode("latin-1").replace(" ", "")
    terms, arrow, output = equation.partition("->")
    sizes: dict[str, Size] = {}
    parts = terms.split(",")
    if not arrow or len(parts) != len(call.inputs) or "." in equation:
        call.wrong()
    for index, part in enumerate(parts):
        if len(part) != len(call.shape(index)):
            call.wrong()
        for label, size in zip(part, call.shape(index), strict=True):
            sizes[label] = together(sizes.get(label, 1), size)
    if not set(output) <= sizes.keys():
        call.wrong()
    return sizes, output


def resize(call: NodeCall) -> SizedShape:
    shape = list(call.shape())
    places = [call.place(axis, len(shape)) for axis in call.attribute("axes", list(range(len(shape))))]
    sizes = call.numbers(3) if call.has(3) else []
    scales = call.numbers(2) if not sizes else []
    for place, size, scale in zip(places, sizes or scales, scales or sizes, strict=True):
        if sizes:
            shape[place] = size
        elif scale != 1:
            if not 0 < scale < _MOST or isinstance(shape[place], PerRow):
                call.wrong()
            scaled = each(shape[place]) * scale
            call.exact = call.exact and scaled.is_integer()  # others are rounded down
            shape[place] = math.ceil(scaled)
    if call.attribute("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        call.wrong()
    return checked(call, shape)


def grid_sample(call: NodeCall) -> SizedShape:
    x, grid = call.shape(0), call.shape(1)
    if len(x) < 4 or len(x) != len(grid):
        call.wrong()
    return *x[:2], *grid[1:-1]


def attention(call: NodeCall) -> SizedShape:
    q, k, v = (call.shape(i) for i in range(3))
    if not len(q) == len(k) == len(v) in (3, 4) or len(call.node.outputs) > 1:
        call.wrong()
    heads, of_keys = (call.attribute(name, 0) for name in ("q_num_heads", "kv_num_heads"))
    if len(q) == 3 and not (heads and of_keys and each(q[-1]) % heads == each(k[-1]) % of_keys == heads % of_keys == 0):
        call.wrong()
    if len(q) == 3:
        return (*q[:-1], -(-each(v[-1]) // of_keys) * heads)
    return (*q[:-1], v[-1])


def recurrent(call: NodeCall) -> list[SizedShape]:
    x, recurrence = call.shape(0), call.shape(2)
    if len(x) != 3 or len(recurrence) != 3 or 0 in (*x, *recurrence) or call.attribute("layout", 0):
        call.wrong()
    steps, rows, _ = x
    last: SizedShape = recurrence[0], rows, recurrence[2]
    return [(steps, *last), last, last]


def dft(call: NodeCall) -> SizedShape:
    *sizes, parts = call.shape()
    axis = call.numbers(2)[0] if call.has(2) else call.attribute("axis", 1)
    if len(sizes) != 2 and not call.has(2) and "axis" not in call.node.attributes:
        call.wrong()  # the default axis differs between opsets
    one_sided = call.attribute("onesided", 0)
    if one_sided and call.attribute("inverse", 0):
        call.wrong()  # opsets differ in what it gives
    place = call.place(axis, len(sizes) + 1)
    if place == len(sizes) or isinstance(sizes[place], PerRow):
        call.wrong()
    length = call.numbers(1)[0] if call.has(1) else sizes[place]
    if isinstance(length, PerRow) or length < 1:
        call.wrong()
    sizes[place] = length // 2 + 1 if one_sided else length
    return *checked(call, sizes), max(2, each(parts))
