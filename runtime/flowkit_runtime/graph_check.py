"""Look through an ONNX file, before onnxruntime does, for what a flow's graph never has.

A graph of plain operators, each run once, has no way to read a file, run code or loop; without random numbers it gives
the same each time. The file is protocol buffers: a sequence of fields, each with a key (number, kind of value) and a
value (https://protobuf.dev/programming-guides/encoding).
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from flowkit_runtime.files import open_file

MAX_FIELDS = 2_000_000
"""The most fields that are looked at, in some seconds. A coupling has about 1,000."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}

# message -> the number of a field -> the message that it holds, or why it is refused (https://onnx.ai/onnx/repo-docs/IR)
_SUBGRAPH = "a graph inside a graph"
_EXTERNAL = "data outside the file"
_MESSAGES = {
    "Model": {7: "Graph", 20: "training information", 25: "functions"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {4: "Operator", 5: "Attribute", 7: "Domain"},
    "Attribute": {5: "Tensor", 6: _SUBGRAPH, 10: "Tensor", 11: _SUBGRAPH, 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "External", 14: "Location"},
    "External": {1: "Key", 2: "Value"},
}
_STANDARD_DOMAINS = (b"", b"ai.onnx")
DRAWING = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"]
)
"""Operators that draw random numbers; Dropout does so in training, and otherwise has nothing to do in a graph."""


def check_graph(path: Path, weights_file: str | None = None) -> None:
    """Raises ValueError if the file is no ONNX model, or has sub-graphs, functions, operators that draw random numbers
    or are outside the standard domain, or data outside the file, other than in the weights file beside it, if one is
    named."""
    with open_file(path) as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("it is empty") from None
    with content, memoryview(content) as data:
        _Check(data, weights_file)("Model", 0, len(data))


class _Check:
    def __init__(self, data: memoryview, weights_file: str | None) -> None:
        self._data, self._weights_file = data, weights_file
        self._left = iter(range(MAX_FIELDS))

    def __call__(self, message: str, start: int, stop: int) -> None:
        known = _MESSAGES[message]
        for number, value, first, last in _fields(self._data, start, stop, self._left):
            inner = known.get(number)
            if inner in _MESSAGES:
                if first == last and value:
                    raise ValueError("it is not an ONNX model")
                if inner == "External":
                    self._external(first, last)
                else:
                    self(inner, first, last)
            elif inner == "Domain":
                if bytes(self._data[first:last]) not in _STANDARD_DOMAINS:
                    raise ValueError("it has an operator outside the standard domain")
            elif inner == "Operator":
                if (name := str(self._data[first:last], "ascii", "replace")) in DRAWING:
                    raise ValueError(f"its operator {name} draws random numbers")
            elif inner == "Location":
                if value and self._weights_file is None:
                    raise ValueError(f"it has {_EXTERNAL}")
            elif inner:
                raise ValueError(f"it has {inner}")

    def _external(self, start: int, stop: int) -> None:
        """An entry, key and value, of where data lies: in the weights file and nowhere else."""
        entry = {
            _MESSAGES["External"].get(number): bytes(self._data[first:last])
            for number, _, first, last in _fields(self._data, start, stop, self._left)
        }
        key, value = entry.get("Key"), entry.get("Value", b"")
        right = value == self._weights_file.encode() if self._weights_file else False
        if not (right if key == b"location" else key in (b"offset", b"length") and value.isdigit()):
            raise ValueError(f"it has {_EXTERNAL}")


def _fields(data: memoryview, start: int, stop: int, left: Iterator[int]) -> Iterator[tuple[int, int, int, int]]:
    """(number, value, first byte, behind the last byte) of each field; the value of what is no varint is 0."""
    at = start
    while at < stop:
        if next(left, None) is None:
            raise ValueError(f"it has more than {MAX_FIELDS:,} fields")
        key, at = _varint(data, at, stop)
        kind, value, first = key & 7, 0, at
        if kind == _VARINT:
            value, at = _varint(data, at, stop)
            first = at
        elif kind == _BYTES:
            length, first = _varint(data, at, stop)
            at = first + length
        elif kind in _WIDTHS:
            at += _WIDTHS[kind]
        else:
            raise ValueError("it is not an ONNX model")
        number = (key & 0xFFFFFFFF) >> 3  # onnxruntime's parser, too, keeps 32 bits
        if at > stop or not number:
            raise ValueError("it is truncated, or not an ONNX model")
        yield number, value, first, at


def _varint(data: memoryview, at: int, stop: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is truncated, or not an ONNX model")
