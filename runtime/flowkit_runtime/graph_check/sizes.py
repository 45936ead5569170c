"""Describes what is known of a graph's values before it runs: integers, and sizes, which may grow with the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.graph_check.reading import MAX_RANK, Node, OperatorError, Tensor


@dataclass(frozen=True)
class PerRow:
    """A size that is `each` times the number of rows in a batch."""

    each: int

    def __mul__(self, other: object) -> PerRow:
        if isinstance(other, int) and other > 0:
            return PerRow(self.each * other)
        return NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> PerRow:
        if isinstance(other, int) and other > 0 and self.each % other == 0:
            return PerRow(self.each // other)
        return NotImplemented

    def __abs__(self) -> PerRow:
        return self


Size = int | PerRow
SizedShape = tuple[Size, ...]
KnownValues = NDArray[np.object_]


@dataclass(frozen=True)
class Value:
    """The properties of a tensor that are known before the graph runs.

    Attributes:
        kind: ONNX's number for its type.
        shape: upper bounds of its sizes.
        values: its values, if they are few and don't depend on those of events. Sizes may grow with the batch.
        folded: True if onnxruntime computes it while it loads the graph.
        exact: True if `shape` is its shape, not only a bound.
        stored: True if the file holds its values, so that they aren't computed.
    """

    kind: int
    shape: SizedShape
    values: KnownValues | None = None
    folded: bool = False
    exact: bool = True
    stored: bool = False


def of_constant(tensor: Tensor) -> Value:
    """Return the value of a constant."""
    values = None if tensor.values is None else tensor.values.astype(object)
    return Value(tensor.kind, tensor.shape, values, folded=True, stored=True)


def each(size: Size) -> int:
    """Return the size for a batch of one row."""
    return size.each if isinstance(size, PerRow) else size


def elements(shape: SizedShape) -> int:
    """Return the number of values of a tensor, for each row of the batch if its size grows with the batch.

    Raises ValueError if it grows faster than in proportion to the batch.
    """
    if sum(isinstance(size, PerRow) for size in shape) > 1:
        raise ValueError("it has a value that grows faster than the batch")
    return math.prod(map(each, shape))


class NodeCall:
    """A node with the values of its inputs. A rule reads it, and sets `exact` to False if the shape is only a bound."""

    def __init__(self, node: Node, inputs: Sequence[Value | None]) -> None:
        self.node, self.inputs, self.exact = node, inputs, True

    def shape(self, index: int = 0) -> SizedShape:
        return self.given(index).shape

    def given(self, index: int) -> Value:
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise OperatorError(self.node.operator, "lacks an input")
        return value

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def values(self, index: int) -> KnownValues | None:
        """Return the values of an input, or None if they aren't known or there is no such input."""
        return self.given(index).values if self.has(index) else None

    def numbers(self, index: int) -> list[Any]:
        """Return the values of an input that determines a shape. Raises ValueError if they aren't known."""
        values = self.given(index).values
        if values is None:
            raise OperatorError(self.node.operator, "gives a shape that depends on values")
        return list(values.ravel())

    def attribute(self, name: str, default: Any) -> Any:
        value = self.node.attributes.get(name)
        if value is None:
            return default
        if default is not None and not isinstance(value, type(default)):
            self.wrong()
        return value

    def axis(self, rank: int, default: int | None = 0) -> int:
        return self.place(self.attribute("axis", default), rank)

    def place(self, axis: Any, rank: int) -> int:
        """Return an axis as an index of at least 0. Raises ValueError if the tensor of this rank doesn't have it."""
        if not isinstance(axis, int) or not -rank <= axis < max(rank, 1):
            self.wrong()
        return axis % rank if rank else 0

    def wrong(self) -> NoReturn:
        raise OperatorError(self.node.operator, "doesn't fit its inputs")


# Arithmetic of sizes


def together(a: Size, b: Size) -> Size:
    """Return the size of two dimensions that are broadcast. Sizes that don't fit fail when the graph runs."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    return like(max(each(a), each(b)), a, b)


def like(size: int, *others: Size) -> Size:
    return PerRow(size) if any(isinstance(other, PerRow) for other in others) else size


def broadcast(*shapes: SizedShape) -> SizedShape:
    """Return the shape to which all shapes are broadcast."""
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(reduce(together, sizes) for sizes in zip(*padded, strict=True))


def product(shape: SizedShape) -> Size:
    return like(elements(shape), *shape)


def checked(call: NodeCall, sizes: Sequence[Any]) -> SizedShape:
    """Return a shape that is given by the values of an input. Raises ValueError if it isn't valid."""
    if len(sizes) > MAX_RANK or any(isinstance(size, float) or each(size) < 0 for size in sizes):
        call.wrong()
    return tuple(sizes)
