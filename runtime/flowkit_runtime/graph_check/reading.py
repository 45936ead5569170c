"""Parses an ONNX file as plain data, and rejects content that a flow's graph never has.

The file is in the protocol buffers format: a sequence of fields, each with a key (field number, wire type) and a value
(https://protobuf.dev/programming-guides/encoding).
"""

import math
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.files import open_file

MAX_FIELDS = 1_000_000
"""The most fields that are read, which takes some seconds. A coupling has about 1,000."""
MAX_NODES, MAX_PARTS = 50_000, 250_000
"""The most operators, and the most parts: operators, constants and descriptions of values.

A coupling has about 100 operators. onnxruntime takes some kilobytes for each part.
"""
MAX_VALUES = 4096
"""The most values that are read of an attribute, or of a constant, which may be a shape or a divisor."""
MAX_RANK = 8
"""The most dimensions of a constant."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_STANDARD_DOMAINS = (b"", b"ai.onnx")
_NOT_ONNX, _TRUNCATED = "it is not an ONNX model", "it is truncated, or not an ONNX model"
_SPARSE, _OUTSIDE = "it has sparse tensors", "it has data outside the file"
_NO_FIT = "it has a constant whose data don't fit its shape"

DTYPES = {
    **{1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?"},
    **{10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8", 16: "<u2"},
}
"""{ONNX's number for a type: numpy's name for it} of real numbers. The bits of a bf16 are read as an integer."""
FLOAT, INT32, INT64, BOOL = 1, 6, 7, 9
"""ONNX's numbers for the types of tensors."""
HALVES = (10, 16)
"""The floating-point types of 16 bits: fp16 and bf16. Their values aren't read, because numpy has no bf16."""
FLOATS = (FLOAT, 11, *HALVES)
"""The floating-point types: fp32, fp64 and those of 16 bits."""
_DATA = {4: "<f4", 10: "<f8", 5: "", 7: "", 11: ""}
"""{field number: dtype} of the fields of a tensor that hold its values as numbers.

An empty dtype stands for integers.
"""
_ATTRIBUTE_FIELDS = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8}
"""{type of an attribute: number of the field that holds its value}."""


@dataclass
class Tensor:
    """A constant: its name, type and shape, and its values if they are few and in the file."""

    name: str = ""
    kind: int = 0
    shape: tuple[int, ...] = ()
    values: NDArray[Any] | None = None


@dataclass
class Node:
    """An operator: the names of its inputs ("" for one left out) and outputs, and its attributes.

    Values of attributes are int, float, bytes, lists of int or float, Tensor or ParsedGraph.
    """

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class ParsedGraph:
    """A graph: its nodes in the order in which they run, their constants, and the names of inputs and outputs."""

    nodes: list[Node] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def read_graph(path: Path, weights_file: str | None = None) -> ParsedGraph:
    """Return the graph of an ONNX file.

    Raises ValueError if the file is no ONNX model; if it has functions, operators outside the standard domain, sparse
    tensors or too many parts; or if it keeps data outside the file, except in the weights file beside it, if one is
    named.
    """
    with open_file(path) as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("it is empty") from None
    with content, memoryview(content) as data:
        return _Reader(data, path.parent / weights_file if weights_file else None).model()


class _Field(NamedTuple):
    """A field of a message: its number, its wire type, its value if that is a varint, and otherwise its place."""

    number: int
    kind: int
    value: int
    start: int
    stop: int


class _Reader:
    """Reads messages, with one method for each type. Field numbers are those of https://onnx.ai/onnx/repo-docs/IR."""

    def __init__(self, data: memoryview, weights_file: Path | None) -> None:
        self._data, self._weights_file = data, weights_file
        self._fields_left, self._nodes_left, self._parts_left = MAX_FIELDS, MAX_NODES, MAX_PARTS
        self._inside = False
        self._bytes_outside = weights_file.stat().st_size if weights_file else 0

    def model(self) -> ParsedGraph:
        graph, found = ParsedGraph(), False
        for part in self._fields(_Field(0, _BYTES, 0, 0, len(self._data))):
            if part.number in (20, 25):
                raise ValueError("it has training information" if part.number == 20 else "it has functions")
            if part.number == 7:
                self._graph(graph, part)
                found = True
        if not found:
            raise ValueError(_NOT_ONNX)
        return graph

    def _graph(self, graph: ParsedGraph, message: _Field) -> None:
        names = {11: graph.inputs, 12: graph.outputs}
        for part in self._fields(message):
            self._parts_left -= 1
            self._nodes_left -= part.number == 1
            if self._nodes_left < 0:
                raise ValueError(f"it has more than {MAX_NODES:,} operators")
            if self._parts_left < 0:
                raise ValueError(f"it has more than {MAX_PARTS:,} operators, constants and descriptions of values")
            if part.number == 1:
                graph.nodes.append(self._node(part))
            elif part.number == 5:
                graph.constants.append(self._tensor(part))
            elif part.number in names:
                names[part.number].append("".join(self._text(of) for of in self._fields(part) if of.number == 1))
            elif part.number == 15:
                raise ValueError(_SPARSE)

    def _node(self, message: _Field) -> Node:
        node = Node()
        for part in self._fields(message):
            if part.number in (1, 2):
                (node.inputs, node.outputs)[part.number - 1].append(self._text(part))
            elif part.number == 4:
                node.operator = self._text(part)
            elif part.number == 5:
                name, value = self._attribute(part)
                if name in node.attributes:
                    raise ValueError(_NOT_ONNX)
                node.attributes[name] = value
            elif part.number == 7 and self._bytes(part) not in _STANDARD_DOMAINS:
                raise ValueError("it has an operator outside the standard domain")
        return node

    def _attribute(self, message: _Field) -> tuple[str, Any]:
        """Return the name of an attribute, and its value of the declared type."""
        values: dict[int, Any] = {1: "", 2: 0.0, 3: 0, 4: b"", 7: [], 8: [], 20: 0}
        for part in self._fields(message):
            if part.number in (11, 22, 23):
                raise ValueError(_SPARSE if part.number > 11 else "it has a list of graphs")
            if part.number in (5, 6):
                if part.number in values:  # protocol buffers would merge the two
                    raise ValueError(_NOT_ONNX)
                values[part.number] = self._tensor(part) if part.number == 5 else self._graph_inside(part)
            elif part.number in (7, 8):
                values[part.number] += self._numbers(part, "<f4" if part.number == 7 else "")
            elif part.number in (1, 4):
                values[part.number] = self._text(part) if part.number == 1 else self._bytes(part)
            elif part.number == 2:
                values[2] = self._numbers(part, "<f4")[-1]
            elif part.number in (3, 20):
                values[part.number] = _signed(part.value)
        return values[1], values.get(_ATTRIBUTE_FIELDS.get(values[20], 0))

    def _graph_inside(self, message: _Field) -> ParsedGraph:
        if self._inside:
            raise ValueError("it has a graph inside a graph inside a graph")
        graph, self._inside = ParsedGraph(), True
        self._graph(graph, message)
        self._inside = False
        return graph

    def _tensor(self, message: _Field) -> Tensor:
        tensor, shape, outside = Tensor(), list[int](), False
        data: list[_Field] = []
        for part in self._fields(message):
            if part.number == 1:
                shape += self._numbers(part)
            elif part.number == 2:
                tensor.kind = part.value
            elif part.number == 8:
                tensor.name = self._text(part)
            elif part.number == 13:
                self._check_outside(part)
            elif part.number == 14:
                outside = outside or part.value != 0
            elif part.number == 9 or part.number in _DATA:
                data.append(part)
        if tensor.kind not in DTYPES or len(shape) > MAX_RANK or any(size < 0 for size in shape):
            raise ValueError("it has a constant that is no array of numbers")
        tensor.shape = tuple(shape)
        if outside:
            self._use_outside(tensor)
        else:
            tensor.values = self._values(tensor, data)
        return tensor

    def _values(self, tensor: Tensor, data: Sequence[_Field]) -> NDArray[Any] | None:
        """Return the values that the file holds if they are few, otherwise None.

        Raises ValueError if the file holds fewer values than the shape requires, or an integer that its type can't
        hold, because onnxruntime would drop its upper bits.
        """
        dtype, count = np.dtype(DTYPES[tensor.kind]), math.prod(tensor.shape)
        raw = [part for part in data if part.number == 9]
        if len(raw) > 1 or (raw and len(data) > 1):
            raise ValueError(_NOT_ONNX)
        smallest = dtype.itemsize if raw else 1  # packed numbers take a byte or more
        if count * smallest > sum(max(1, part.stop - part.start) for part in data):
            raise ValueError(_NO_FIT)
        if count > MAX_VALUES or tensor.kind in HALVES:
            return None
        if raw:
            values = np.frombuffer(self._bytes(raw[0])[: count * dtype.itemsize], dtype)
        else:
            numbers = [number for part in data for number in self._numbers(part, _DATA[part.number])]
            values = np.array(numbers).astype(dtype)
            if tensor.kind not in FLOATS and values.tolist() != numbers:
                raise ValueError("it has a constant with integers that its type can't hold")
        if values.size != count:
            raise ValueError(_NO_FIT)
        return values.reshape(tensor.shape)

    def _use_outside(self, tensor: Tensor) -> None:
        """Subtract the bytes of a tensor from those of the weights file, so that no more are used than it has."""
        if self._weights_file is None:
            raise ValueError(_OUTSIDE)
        self._bytes_outside -= math.prod(tensor.shape) * np.dtype(DTYPES[tensor.kind]).itemsize
        if self._bytes_outside < 0:
            raise ValueError(_NO_FIT)

    def _check_outside(self, message: _Field) -> None:
        """Raise ValueError unless an entry (key and value) refers to data in the weights file."""
        entry = {part.number: self._bytes(part) for part in self._fields(message)}
        key, value = entry.get(1), entry.get(2, b"")
        right = value == self._weights_file.name.encode() if self._weights_file else False
        if not (right if key == b"location" else key in (b"offset", b"length") and value.isdigit()):
            raise ValueError(_OUTSIDE)

    def _numbers(self, part: _Field, real: str = "") -> list[Any]:
        """Return the numbers of a field, a single one or several packed together.

        They are integers, or of the dtype `real` if it isn't empty.
        """
        if part.kind == _VARINT and not real:
            return [_signed(part.value)]
        content = self._bytes(part)
        if len(content) > 10 * MAX_VALUES:
            raise ValueError(f"it has a list of more than {MAX_VALUES} numbers")
        if real:
            if len(content) % np.dtype(real).itemsize:
                raise ValueError(_NOT_ONNX)
            return list(np.frombuffer(content, real).tolist())
        values, at = [], part.start
        while at < part.stop:
            number, at = _varint(self._data, at, part.stop)
            values.append(_signed(number))
        return values

    def _bytes(self, part: _Field) -> bytes:
        return bytes(self._data[part.start : part.stop])

    def _text(self, part: _Field) -> str:
        """Return a name as text, with one character for each byte, because it might not be UTF-8."""
        return str(self._data[part.start : part.stop], "latin-1")

    def _fields(self, message: _Field) -> Iterator[_Field]:
        """Yield the fields of the message that is the value of a field."""
        if message.kind != _BYTES:
            raise ValueError(_NOT_ONNX)
        at, stop = message.start, message.stop
        while at < stop:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise ValueError(f"it has more than {MAX_FIELDS:,} fields")
            key, at = _varint(self._data, at, stop)
            kind, value, first = key & 7, 0, at
            if kind == _VARINT:
                value, at = _varint(self._data, at, stop)
                first = at
            elif kind == _BYTES:
                length, first = _varint(self._data, at, stop)
                at = first + length
            elif kind in _WIDTHS:
                at += _WIDTHS[kind]
            else:
                raise ValueError(_NOT_ONNX)
            number = (key & 0xFFFFFFFF) >> 3  # onnxruntime's parser keeps 32 bits, too
            if at > stop or not number:
                raise ValueError(_TRUNCATED)
            yield _Field(number, kind, value, first, at)


def _varint(data: memoryview, at: int, stop: int) -> tuple[int, int]:
    """Return a variable-length integer (groups of seven bits, the lowest first), and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(_TRUNCATED)


def _signed(value: int) -> int:
    """Return the lowest 64 bits as a signed integer in two's complement."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
