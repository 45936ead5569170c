"""What each ONNX operator makes of the shapes of its inputs: https://onnx.ai/onnx/operators, opsets 18 to 24.

Sizes are upper bounds. A shape that depends on values which only running the graph tells is refused with a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from flowkit_runtime.graph_shapes import (
    Call,
    Rows,
    Shape,
    Size,
    added,
    broadcast,
    checked,
    each,
    elements,
    like,
    product,
    together,
)

_MOST = 2**31
"""What ends a slice at the end, or is more than any end."""

Rule = Callable[[Call], Shape | list[Shape]]
"""The shape of the output, or of each output."""


def _broadcast(call: Call) -> Shape:
    return broadcast(*(value.shape for value in call.inputs if value is not None))


def _same(call: Call) -> list[Shape]:
    return [call.shape()] * len(call.node.outputs)


def _reduced(call: Call) -> Shape:
    shape, axes = call.shape(), call.attribute("axes", [])
    if call.has(1):
        axes = call.numbers(1)
    if 0 in shape:
        call.wrong()  # onnxruntime divides by their number
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return shape
    return _without(call, axes or list(range(len(shape))))


def _without(call: Call, axes: Sequence[Any]) -> Shape:
    shape, keep = call.shape(), call.attribute("keepdims", 1)
    places = {call.place(axis, len(shape)) for axis in axes}
    return tuple(1 if i in places else size for i, size in enumerate(shape) if keep or i not in places)


def _arg(call: Call) -> Shape:
    return _without(call, [call.attribute("axis", 0)])


def _matmul(call: Call) -> Shape:
    a, b = call.shape(0), call.shape(1)
    if not a or not b:
        call.wrong()
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return broadcast(a[:-2], b[:-2]) + rows + columns


def _gemm(call: Call) -> Shape:
    a, b = (shape[::-1] if call.attribute(name, 0) else shape for shape, name in _transposed(call))
    return a[0], b[1]


def _transposed(call: Call) -> list[tuple[Shape, str]]:
    a, b = call.shape(0), call.shape(1)
    if len(a) != 2 or len(b) != 2:
        call.wrong()
    return [(a, "transA"), (b, "transB")]


def _conv(call: Call) -> Shape:
    x, weight = call.shape(0), call.shape(1)
    if len(x) != len(weight) or len(x) < 3:
        call.wrong()
    return (x[0], weight[0], *_windows(call, x[2:], [each(size) for size in weight[2:]]))


def _pool(call: Call) -> list[Shape]:
    x, kernel = call.shape(), call.attribute("kernel_shape", [])
    if len(x) != len(kernel) + 2 or not kernel:
        call.wrong()
    return [(*x[:2], *_windows(call, x[2:], kernel))] * len(call.node.outputs)


def _windows(call: Call, sizes: Shape, kernel: Sequence[int]) -> list[int]:
    """How often a window fits along each dimension; rounded up, as some operators do."""
    n = len(sizes)
    strides, dilations = call.attribute("strides", [1] * n), call.attribute("dilations", [1] * n)
    pads = call.attribute("pads", [0] * 2 * n)
    if len(strides) != n or len(dilations) != n or len(pads) != 2 * n:
        call.wrong()
    if call.attribute("auto_pad", b"NOTSET").startswith(b"SAME"):
        return [-(-each(size) // stride) for size, stride in zip(sizes, strides, strict=True)]
    reach = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    padded = [each(size) + before + after for size, before, after in zip(sizes, pads[:n], pads[n:], strict=True)]
    up = call.attribute("ceil_mode", 0)
    gaps = [(whole - r, stride) for whole, r, stride in zip(padded, reach, strides, strict=True)]
    return [max(0, (-(-gap // stride) if up else gap // stride) + 1) for gap, stride in gaps]


def _conv_transpose(call: Call) -> Shape:
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
    own = call.attribute("output_shape", [])
    sizes = own or [
        stride * (each(size) - 1) + (k - 1) * dilation + 1 + extra
        for size, k, stride, dilation, extra in zip(x[2:], kernel, strides, dilations, more, strict=True)
    ]
    call.exact = False  # pads make it smaller
    return (x[0], each(weight[1]) * groups, *sizes)


def _einsum(call: Call) -> Shape:
    sizes, output = labels(call)
    return tuple(sizes[label] for label in output)


def labels(call: Call) -> tuple[dict[str, Size], str]:
    """The size of each label of an Einsum's equation, and the labels of its output."""
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


def _reshape(call: Call) -> Shape:
    shape, target = call.shape(), call.numbers(1)
    zero = bool(call.attribute("allowzero", 0))
    if any(size == 0 and i >= len(shape) for i, size in enumerate(target) if not zero):
        call.wrong()
    sizes: list[Size] = [shape[i] if size == 0 and not zero else size for i, size in enumerate(target)]
    if -1 in sizes:
        others = [size for size in sizes if size != -1]
        if len(others) != len(sizes) - 1:
            call.wrong()
        sizes[sizes.index(-1)] = _rest(shape, tuple(others))
    return checked(call, sizes)


def _rest(shape: Shape, others: Shape) -> Size:
    """The size that makes others hold as many values as a shape."""
    count = -(-elements(shape) // max(1, elements(others)))
    rows = sum(isinstance(size, Rows) for size in shape) - sum(isinstance(size, Rows) for size in others)
    return Rows(count) if rows > 0 else count


def _flatten(call: Call) -> Shape:
    shape = call.shape()
    axis = call.attribute("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        call.wrong()
    axis += len(shape) if axis < 0 else 0
    return product(shape[:axis]), product(shape[axis:])


def _squeeze(call: Call) -> Shape:
    shape = call.shape()
    if not call.has(1):
        return tuple(size for size in shape if size != 1)
    places = {call.place(axis, len(shape)) for axis in call.numbers(1)}
    return tuple(size for i, size in enumerate(shape) if i not in places)


def _unsqueeze(call: Call) -> Shape:
    shape, axes = list(call.shape()), call.numbers(1)
    rank = len(shape) + len(axes)
    for place in sorted(call.place(axis, rank) for axis in axes):
        shape.insert(place, 1)
    return checked(call, shape)


def _transpose(call: Call) -> Shape:
    shape = call.shape()
    order = call.attribute("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        call.wrong()
    return tuple(shape[i] for i in order)


def _expand(call: Call) -> Shape:
    return broadcast(call.shape(), checked(call, call.numbers(1)))


def _tile(call: Call) -> Shape:
    shape, times = call.shape(), checked(call, call.numbers(1))
    if len(shape) != len(times):
        call.wrong()
    for size, n in zip(shape, times, strict=True):
        if isinstance(size, Rows) and isinstance(n, Rows):
            elements((size, n))  # raises
    return tuple(like(each(size) * each(n), size, n) for size, n in zip(shape, times, strict=True))


def _concat(call: Call) -> Shape:
    shapes = [call.shape(i) for i in range(len(call.inputs))]
    rank = len(shapes[0]) if shapes else 0
    if not rank or any(len(shape) != rank for shape in shapes):
        call.wrong()
    axis = call.axis(rank, default=None)
    sizes = list(broadcast(*shapes))
    sizes[axis] = reduce(added, (shape[axis] for shape in shapes))
    call.exact = len({isinstance(shape[axis], Rows) for shape in shapes}) == 1
    return tuple(sizes)


def _slice(call: Call) -> Shape:
    shape = list(call.shape())
    starts, ends, axes, steps = (call.known(i) for i in (1, 2, 3, 4))
    if starts is None or ends is None or (call.has(3) and axes is None) or (call.has(4) and steps is None):
        call.exact = False
        return tuple(shape)
    places = range(starts.size) if axes is None else axes.ravel()
    strides = [1] * starts.size if steps is None else list(steps.ravel())
    if not starts.size == ends.size == len(places) == len(strides) or 0 in strides:
        call.wrong()
    for start, end, axis, step in zip(starts.ravel(), ends.ravel(), places, strides, strict=True):
        place = call.place(axis, len(shape))
        size, whole = shape[place], isinstance(end, int) and end >= _MOST
        if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
            shape[place] = len(range(*slice(start, end, step).indices(size)))
        elif not (start == 0 and step == 1 and (whole or end == size)):
            call.exact = False
    return tuple(shape)


def _split(call: Call) -> list[Shape]:
    shape = call.shape()
    axis, n = call.axis(len(shape)), len(call.node.outputs)
    sizes = call.numbers(1) if call.has(1) else [like(-(-each(shape[axis]) // n), shape[axis])] * n
    if len(sizes) != n:
        call.wrong()
    call.exact = call.has(1) or each(shape[axis]) % n == 0
    return [checked(call, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _gather(call: Call) -> Shape:
    shape = call.shape()
    axis = call.axis(len(shape))
    return shape[:axis] + call.shape(1) + shape[axis + 1 :]


def _gather_nd(call: Call) -> Shape:
    shape, indices, batched = call.shape(), call.shape(1), call.attribute("batch_dims", 0)
    if not indices or not 0 <= batched <= len(shape):
        call.wrong()
    return indices[:-1] + shape[batched + each(indices[-1]) :]


def _pad(call: Call) -> Shape:
    shape, pads = list(call.shape()), call.numbers(1)
    places = [call.place(axis, len(shape)) for axis in call.numbers(3)] if call.has(3) else range(len(shape))
    if len(pads) != 2 * len(places):
        call.wrong()
    for place, before, after in zip(places, pads[: len(places)], pads[len(places) :], strict=True):
        if before or after:
            shape[place] = like(max(0, each(shape[place]) + each(before) + each(after)), shape[place], before, after)
            call.exact = call.exact and isinstance(shape[place], int)
    return tuple(shape)


def _blocks(call: Call) -> Shape:
    shape, block = call.shape(), call.attribute("blocksize", 1)
    if len(shape) != 4:
        call.wrong()
    rows, channels, *sizes = shape
    if call.node.operator == "DepthToSpace":
        return rows, each(channels) // block**2, *(each(size) * block for size in sizes)
    return rows, each(channels) * block**2, *(each(size) // block for size in sizes)


def dimensions(call: Call) -> Shape:
    """The part of a shape that the operator Shape gives."""
    shape = call.shape()
    return shape[slice(call.attribute("start", 0), call.attribute("end", len(shape)))]


def _range(call: Call) -> Shape:
    if any(call.shape(i) for i in range(3)):
        call.wrong()
    start, limit, step = (call.numbers(i)[0] for i in range(3))
    if start == 0 and step == 1 and isinstance(limit, Rows):
        return (limit,)
    if (
        not all(isinstance(number, int | float) and math.isfinite(number) for number in (start, limit, step))
        or not step
    ):
        call.wrong()
    return (max(0, math.ceil((limit - start) / step)),)


def _one_hot(call: Call) -> Shape:
    indices, (depth, *_) = call.shape(), call.numbers(1)
    axis = call.attribute("axis", -1)
    place = axis if axis >= 0 else axis + len(indices) + 1
    return checked(call, (*indices[:place], depth, *indices[place:]))


def _top_k(call: Call) -> list[Shape]:
    shape, (k, *_) = call.shape(), call.numbers(1)
    axis = call.axis(len(shape), -1)
    return [checked(call, (*shape[:axis], k, *shape[axis + 1 :]))] * len(call.node.outputs)


def _resize(call: Call) -> Shape:
    shape = list(call.shape())
    places = [call.place(axis, len(shape)) for axis in call.attribute("axes", list(range(len(shape))))]
    sizes = call.numbers(3) if call.has(3) else []
    scales = call.numbers(2) if not sizes else []
    for place, size, scale in zip(places, sizes or scales, scales or sizes, strict=True):
        if sizes:
            shape[place] = size
        elif scale != 1:
            if not 0 < scale < _MOST or isinstance(shape[place], Rows):
                call.wrong()
            shape[place] = math.ceil(each(shape[place]) * scale)
    if call.attribute("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        call.wrong()
    call.exact = call.exact and not scales
    return checked(call, shape)


def _attention(call: Call) -> Shape:
    q, k, v = (call.shape(i) for i in range(3))
    if not len(q) == len(k) == len(v) in (3, 4) or len(call.node.outputs) > 1:
        call.wrong()
    heads, of_keys = (call.attribute(name, 0) for name in ("q_num_heads", "kv_num_heads"))
    if len(q) == 3 and not (heads and of_keys and each(q[-1]) % heads == each(k[-1]) % of_keys == heads % of_keys == 0):
        call.wrong()
    heads = heads if len(q) == 3 else 1
    return (*q[:-1], each(v[-1]) * heads)  # as if each head read all of v: a bound


def _dft(call: Call) -> Shape:
    *sizes, parts = call.shape()
    axis = call.attribute("axis", 1)
    if call.has(2):
        (axis,) = call.numbers(2)
    place = call.place(axis, len(sizes) + 1)
    if place == len(sizes) or isinstance(sizes[place], Rows):
        call.wrong()
    length = call.numbers(1)[0] if call.has(1) else sizes[place]
    if isinstance(length, Rows) or length < 1:
        call.wrong()
    sizes[place] = length // 2 + 1 if call.attribute("onesided", 0) and not call.attribute("inverse", 0) else length
    return *checked(call, sizes), max(2, each(parts))


def _recurrent(call: Call) -> list[Shape]:
    x, recurrence = call.shape(0), call.shape(2)
    if len(x) != 3 or len(recurrence) != 3 or call.attribute("layout", 0):
        call.wrong()
    steps, rows, _ = x
    last: Shape = recurrence[0], rows, recurrence[2]
    return [(steps, *last), last, last]


def _grid_sample(call: Call) -> Shape:
    x, grid = call.shape(0), call.shape(1)
    if len(x) < 4 or len(x) != len(grid):
        call.wrong()
    return *x[:2], *grid[1:-1]


# Operators by rule

_BROADCAST = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitShift Cast CastLike
    Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round
    Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_SAME = """
    BatchNormalization CumSum GroupNormalization Hardmax InstanceNormalization LayerNormalization LogSoftmax
    LpNormalization MeanVarianceNormalization RMSNormalization ScatterElements ScatterND Softmax Trilu
"""
_REDUCED = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_BROADCAST.split(), _broadcast),
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_REDUCED.split(), _reduced),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool"), lambda call: call.shape()[:2] + (1,) * len(call.shape()[2:])
    ),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _blocks),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    "Attention": _attention,
    "Concat": _concat,
    "ConstantOfShape": lambda call: checked(call, call.numbers(0)),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DFT": _dft,
    "Det": lambda call: call.shape()[:-2],
    "Einsum": _einsum,
    "Expand": _expand,
    "EyeLike": lambda call: call.shape(),
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": lambda call: call.shape(1),
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "MatMul": _matmul,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda call: (len(dimensions(call)),),
    "Size": lambda call: (),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The operators that a flow's graph may have."""
