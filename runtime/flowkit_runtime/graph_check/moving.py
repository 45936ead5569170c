"""Computes the output shapes of operators that move, repeat, select or create values."""

from __future__ import annotations

import math

from flowkit_runtime.graph_check.sizes import (
    NodeCall,
    PerRow,
    Size,
    SizedShape,
    broadcast,
    checked,
    each,
    elements,
    like,
    product,
)

_END = 2**31
"""An end of a slice that is at least this large stands for the end of the dimension."""


def reshape(call: NodeCall) -> SizedShape:
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


def _rest(shape: SizedShape, others: SizedShape) -> Size:
    """Return the size in place of -1 in a Reshape, for which the output has as many values as `shape`.

    `others` are the other sizes of the output.
    """
    count = -(-elements(shape) // max(1, elements(others)))
    rows = sum(isinstance(size, PerRow) for size in shape) - sum(isinstance(size, PerRow) for size in others)
    return PerRow(count) if rows > 0 else count


def flatten(call: NodeCall) -> SizedShape:
    shape = call.shape()
    axis = call.attribute("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        call.wrong()
    axis += len(shape) if axis < 0 else 0
    return product(shape[:axis]), product(shape[axis:])


def squeeze(call: NodeCall) -> SizedShape:
    shape = call.shape()
    if not call.has(1):
        return tuple(size for size in shape if size != 1)
    places = {call.place(axis, len(shape)) for axis in call.numbers(1)}
    return tuple(size for i, size in enumerate(shape) if i not in places)


def unsqueeze(call: NodeCall) -> SizedShape:
    shape, axes = list(call.shape()), call.numbers(1)
    rank = len(shape) + len(axes)
    for place in sorted(call.place(axis, rank) for axis in axes):
        shape.insert(place, 1)
    return checked(call, shape)


def transpose(call: NodeCall) -> SizedShape:
    shape = call.shape()
    order = call.attribute("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        call.wrong()
    return tuple(shape[i] for i in order)


def expand(call: NodeCall) -> SizedShape:
    return broadcast(call.shape(), checked(call, call.numbers(1)))


def tile(call: NodeCall) -> SizedShape:
    shape, times = call.shape(), checked(call, call.numbers(1))
    if len(shape) != len(times):
        call.wrong()
    for size, n in zip(shape, times, strict=True):
        if isinstance(size, PerRow) and isinstance(n, PerRow):
            elements((size, n))  # raises ValueError
    return tuple(like(each(size) * each(n), size, n) for size, n in zip(shape, times, strict=True))


def concat(call: NodeCall) -> SizedShape:
    shapes = [call.shape(i) for i in range(len(call.inputs))]
    rank = len(shapes[0]) if shapes else 0
    if not rank or any(len(shape) != rank for shape in shapes):
        call.wrong()
    axis = call.axis(rank, default=None)
    sizes = list(broadcast(*shapes))
    joined = [shape[axis] for shape in shapes]
    sizes[axis] = like(sum(map(each, joined)), *joined)
    call.exact = len({isinstance(size, PerRow) for size in joined}) == 1
    return tuple(sizes)


def sliced(call: NodeCall) -> SizedShape:
    shape = list(call.shape())
    starts, ends, axes, steps = (call.values(i) for i in (1, 2, 3, 4))
    if starts is None or ends is None or (call.has(3) and axes is None) or (call.has(4) and steps is None):
        call.exact = False
        return tuple(shape)
    places = range(starts.size) if axes is None else axes.ravel()
    strides = [1] * starts.size if steps is None else list(steps.ravel())
    if not starts.size == ends.size == len(places) == len(strides) or 0 in strides:
        call.wrong()
    for start, end, axis, step in zip(starts.ravel(), ends.ravel(), places, strides, strict=True):
        place = call.place(axis, len(shape))
        size, whole = shape[place], isinstance(end, int) and end >= _END
        if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
            # A start before the first value stands for the first. Python would take none if step is below 0.
            start = max(start, -size)
            shape[place] = len(range(*slice(start, end, step).indices(size)))
        elif not (start == 0 and step == 1 and (whole or end == size)):
            call.exact = False
    return tuple(shape)


def split(call: NodeCall) -> list[SizedShape]:
    shape = call.shape()
    axis, n = call.axis(len(shape)), len(call.node.outputs)
    sizes = call.numbers(1) if call.has(1) else [like(-(-each(shape[axis]) // n), shape[axis])] * n
    if len(sizes) != n:
        call.wrong()
    call.exact = call.has(1) or each(shape[axis]) % n == 0
    return [checked(call, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def gather(call: NodeCall) -> SizedShape:
    shape = call.shape()
    axis = call.axis(len(shape))
    return shape[:axis] + call.shape(1) + shape[axis + 1 :]


def gather_nd(call: NodeCall) -> SizedShape:
    shape, indices, batched = call.shape(), call.shape(1), call.attribute("batch_dims", 0)
    if not indices or not 0 <= batched <= len(shape):
        call.wrong()
    return indices[:-1] + shape[batched + each(indices[-1]) :]


def pad(call: NodeCall) -> SizedShape:
    shape, pads = list(call.shape()), call.numbers(1)
    places = [call.place(axis, len(shape)) for axis in call.numbers(3)] if call.has(3) else range(len(shape))
    if len(pads) != 2 * len(places):
        call.wrong()
    for place, before, after in zip(places, pads[: len(places)], pads[len(places) :], strict=True):
        if before or after:
            shape[place] = like(max(0, each(shape[place]) + each(before) + each(after)), shape[place], before, after)
            call.exact = call.exact and isinstance(shape[place], int)
    return tuple(shape)


def blocks(call: NodeCall) -> SizedShape:
    shape, block = call.shape(), call.attribute("blocksize", 1)
    if len(shape) != 4:
        call.wrong()
    rows, channels, *sizes = shape
    if call.node.operator == "DepthToSpace":
        return rows, each(channels) // block**2, *(each(size) * block for size in sizes)
    return rows, each(channels) * block**2, *(each(size) // block for size in sizes)


def dimensions(call: NodeCall) -> SizedShape:
    """Return the part of a shape that the operator Shape returns."""
    shape = call.shape()
    return shape[slice(call.attribute("start", 0), call.attribute("end", len(shape)))]


def ranged(call: NodeCall) -> SizedShape:
    if any(call.shape(i) for i in range(3)):
        call.wrong()
    start, limit, step = (call.numbers(i)[0] for i in range(3))
    if start == 0 and step == 1 and isinstance(limit, PerRow):
        return (limit,)
    if (
        not all(isinstance(number, int | float) and math.isfinite(number) for number in (start, limit, step))
        or not step
    ):
        call.wrong()
    return (max(0, math.ceil((limit - start) / step)),)


def one_hot(call: NodeCall) -> SizedShape:
    indices, (depth, *_) = call.shape(), call.numbers(1)
    axis = call.attribute("axis", -1)
    place = axis if axis >= 0 else axis + len(indices) + 1
    return checked(call, (*indices[:place], depth, *indices[place:]))


def top_k(call: NodeCall) -> list[SizedShape]:
    shape, (k, *_) = call.shape(), call.numbers(1)
    axis = call.axis(len(shape), -1)
    return [checked(call, (*shape[:axis], k, *shape[axis + 1 :]))] * len(call.node.outputs)
