"""Parses an ONNX file as plain data, and rejects content that a flow's graph never has."""

import dataclasses
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.errors import shortened
from flowkit_runtime.files import open_file
from flowkit_runtime.graph_check.proto import (
    DTYPES,
    FLOATS,
    HALVES,
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    StringStringEntryProto,
    TensorProto,
    ValueInfoProto,
)
from flowkit_runtime.graph_check.wire import MAX_VALUES, NOT_ONNX, Field, Wire

MAX_NODES, MAX_PARTS = 50_000, 250_000
"""The most operators, and the most parts: operators, constants and descriptions of values.

A coupling has about 100 operators. onnxruntime takes some kilobytes for each part.
"""
MAX_RANK = 8
"""The most dimensions of a constant."""

_STANDARD_DOMAINS = (b"", b"ai.onnx")
_SPARSE, _OUTSIDE = "it has sparse tensors", "it has data outside the file"
_NO_FIT = "it has a constant whose data don't fit its shape"

_DATA = {
    TensorProto.FLOAT_DATA: "<f4",
    TensorProto.DOUBLE_DATA: "<f8",
    TensorProto.INT32_DATA: "",
    TensorProto.INT64_DATA: "",
    TensorProto.UINT64_DATA: "",
}
"""{field: dtype} of the fields of a tensor that hold its values as numbers. An empty dtype stands for integers."""
_ATTRIBUTE_TYPES = range(15)
_VALUE_OF_TYPE = dict(enumerate(range(AttributeProto.F, AttributeProto.INTS + 1), 1))
"""{type of an attribute: the field that holds its value}, for the types whose values are read."""


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
    inputs: list[str] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)


class OperatorError(ValueError):
    """An operator that no graph of a flow has, or that can't be used as it is in this one."""

    def __init__(self, operator: str, why: str) -> None:
        self.operator = operator
        super().__init__(f"its operator {shortened(operator if operator.isidentifier() else repr(operator))} {why}")


@dataclass
class ParsedGraph:
    """A graph: its nodes in the order in which they run, their constants, and the names of inputs and outputs."""

    nodes: list[Node] = dataclasses.field(default_factory=list)
    constants: list[Tensor] = dataclasses.field(default_factory=list)
    inputs: list[str] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)


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


class _Reader(Wire):
    """Reads messages, with one method for each type."""

    def __init__(self, data: memoryview, weights_file: Path | None) -> None:
        super().__init__(data)
        self._weights_file = weights_file
        self._nodes_left, self._parts_left = MAX_NODES, MAX_PARTS
        self._inside = False
        self._bytes_outside = weights_file.stat().st_size if weights_file else 0

    def model(self) -> ParsedGraph:
        graph, found = ParsedGraph(), False
        for field in self.fields(self.whole):
            match field.number:
                case ModelProto.GRAPH:
                    self._graph(graph, field)
                    found = True
                case ModelProto.TRAINING_INFO:
                    raise ValueError("it has training information")
                case ModelProto.FUNCTIONS:
                    raise ValueError("it has functions")
        if not found:
            raise ValueError(NOT_ONNX)
        return graph

    def _graph(self, graph: ParsedGraph, message: Field) -> None:
        for field in self.fields(message):
            self._count_part(field)
            match field.number:
                case GraphProto.NODE:
                    graph.nodes.append(self._node(field))
                case GraphProto.INITIALIZER:
                    graph.constants.append(self._tensor(field))
                case GraphProto.INPUT:
                    graph.inputs.append(self._value_name(field))
                case GraphProto.OUTPUT:
                    graph.outputs.append(self._value_name(field))
                case GraphProto.SPARSE_INITIALIZER:
                    raise ValueError(_SPARSE)

    def _count_part(self, field: Field) -> None:
        """Subtract a field of a graph from the numbers of operators and parts that are left."""
        self._parts_left -= 1
        self._nodes_left -= field.number == GraphProto.NODE
        if self._nodes_left < 0:
            raise ValueError(f"it has more than {MAX_NODES:,} operators")
        if self._parts_left < 0:
            raise ValueError(f"it has more than {MAX_PARTS:,} operators, constants and descriptions of values")

    def _value_name(self, message: Field) -> str:
        fields = self.fields(message)
        return "".join(self.text(field) for field in fields if field.number == ValueInfoProto.NAME)

    def _node(self, message: Field) -> Node:
        node = Node()
        for field in self.fields(message):
            match field.number:
                case NodeProto.INPUT:
                    node.inputs.append(self.text(field))
                case NodeProto.OUTPUT:
                    node.outputs.append(self.text(field))
                case NodeProto.OP_TYPE:
                    node.operator = self.text(field)
                case NodeProto.ATTRIBUTE:
                    name, value = self._attribute(field)
                    if name in node.attributes:
                        raise ValueError(NOT_ONNX)
                    node.attributes[name] = value
                case NodeProto.DOMAIN if self.content(field) not in _STANDARD_DOMAINS:
                    raise ValueError("it has an operator outside the standard domain")
        return node

    def _attribute(self, message: Field) -> tuple[str, Any]:
        """Return the name of an attribute, and its value of the declared type."""
        of = AttributeProto
        values: dict[int, Any] = {of.NAME: "", of.F: 0.0, of.I: 0, of.S: b"", of.FLOATS: [], of.INTS: [], of.TYPE: 0}
        for field in self.fields(message):
            match field.number:
                case of.NAME:
                    values[of.NAME] = self.text(field)
                case of.F:
                    values[of.F] = self.real(field)
                case of.I:
                    values[of.I] = self.integer(field)
                case of.TYPE:
                    values[of.TYPE] = self.integer(field)
                    if values[of.TYPE] not in _ATTRIBUTE_TYPES:  # onnxruntime's parser would ignore it
                        raise ValueError(NOT_ONNX)
                case of.S:
                    values[of.S] = self.content(field)
                case of.T | of.G if field.number in values:  # protocol buffers would merge the two
                    raise ValueError(NOT_ONNX)
                case of.T:
                    values[of.T] = self._tensor(field)
                case of.G:
                    values[of.G] = self._graph_inside(field)
                case of.FLOATS:
                    values[of.FLOATS] += self.numbers(field, "<f4")
                case of.INTS:
                    values[of.INTS] += self.numbers(field)
                case of.GRAPHS:
                    raise ValueError("it has a list of graphs")
                case of.SPARSE_TENSOR | of.SPARSE_TENSORS:
                    raise ValueError(_SPARSE)
        return values[of.NAME], values.get(_VALUE_OF_TYPE.get(values[of.TYPE], 0))

    def _graph_inside(self, message: Field) -> ParsedGraph:
        if self._inside:
            raise ValueError("it has a graph inside a graph inside a graph")
        graph, self._inside = ParsedGraph(), True
        self._graph(graph, message)
        self._inside = False
        return graph

    def _tensor(self, message: Field) -> Tensor:
        tensor, shape, outside = Tensor(), list[int](), False
        data: list[Field] = []
        for field in self.fields(message):
            match field.number:
                case TensorProto.DIMS:
                    shape += self.numbers(field)
                case TensorProto.DATA_TYPE:
                    tensor.kind = self.integer(field)
                case TensorProto.NAME:
                    tensor.name = self.text(field)
                case TensorProto.EXTERNAL_DATA:
                    self._check_outside(field)
                case TensorProto.DATA_LOCATION:
                    outside = outside or self.integer(field) != 0
                case TensorProto.RAW_DATA:
                    data.append(field)
                case number if number in _DATA:
                    data.append(field)
        if tensor.kind not in DTYPES or len(shape) > MAX_RANK or any(size < 0 for size in shape):
            raise ValueError("it has a constant that is no array of numbers")
        tensor.shape = tuple(shape)
        if outside:
            self._use_outside(tensor)
        else:
            tensor.values = self._values(tensor, data)
        return tensor

    def _values(self, tensor: Tensor, data: Sequence[Field]) -> NDArray[Any] | None:
        """Return the values that the file holds if they are few, otherwise None.

        Raises ValueError if the file holds fewer values than the shape requires, or an integer that its type can't
        hold, because onnxruntime would drop its upper bits.
        """
        dtype, count = np.dtype(DTYPES[tensor.kind]), math.prod(tensor.shape)
        raw = [field for field in data if field.number == TensorProto.RAW_DATA]
        if len(raw) > 1 or (raw and len(data) > 1):
            raise ValueError(NOT_ONNX)
        smallest = dtype.itemsize if raw else 1  # packed numbers take a byte or more
        if count * smallest > sum(max(1, field.stop - field.start) for field in data):
            raise ValueError(_NO_FIT)
        if count > MAX_VALUES or tensor.kind in HALVES:
            return None
        if raw:
            values = np.frombuffer(self.content(raw[0])[: count * dtype.itemsize], dtype)
        else:
            numbers = [number for field in data for number in self.numbers(field, _DATA[field.number])]
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

    def _check_outside(self, message: Field) -> None:
        """Raise ValueError unless an entry (key and value) refers to data in the weights file."""
        entry = {field.number: self.content(field) for field in self.fields(message)}
        key, value = entry.get(StringStringEntryProto.KEY), entry.get(StringStringEntryProto.VALUE, b"")
        right = value == self._weights_file.name.encode() if self._weights_file else False
        if not (right if key == b"location" else key in (b"offset", b"length") and value.isdigit()):
            raise ValueError(_OUTSIDE)
