"""Reads protocol buffers, the format of ONNX files (https://protobuf.dev/programming-guides/encoding).

A message is a sequence of fields, each with a key (field number, wire type) and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

MAX_FIELDS = 1_000_000
"""The most fields that are read, which takes some seconds. A coupling has about 1,000."""
MAX_VALUES = 4096
"""The most values that are read of an attribute, or of a constant, which may be a shape or a divisor."""
NOT_ONNX, _TRUNCATED = "it is not an ONNX model", "it is truncated, or not an ONNX model"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_SINGLE = {"": _VARINT, "<f4": _FIXED32, "<f8": _FIXED64}
"""{dtype: wire type of a single number}; an empty dtype stands for integers."""


class Field(NamedTuple):
    """A field of a message: its number, its wire type, its value if that is a varint, and otherwise its place."""

    number: int
    kind: int
    value: int
    start: int
    stop: int


class Wire:
    """Reads the fields of messages, MAX_FIELDS of them at most."""

    def __init__(self, data: memoryview) -> None:
        self.whole = Field(0, _BYTES, 0, 0, len(data))
        self._data, self._fields_left = data, MAX_FIELDS

    def fields(self, message: Field) -> Iterator[Field]:
        """Yield the fields of the message that is the value of a field."""
        _check_kind(message, _BYTES)
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
                raise ValueError(NOT_ONNX)
            number = (key & 0xFFFFFFFF) >> 3  # onnxruntime's parser keeps 32 bits, too
            if at > stop or not number:
                raise ValueError(_TRUNCATED)
            yield Field(number, kind, value, first, at)

    def integer(self, field: Field) -> int:
        _check_kind(field, _VARINT)
        return signed(field.value)

    def real(self, field: Field) -> float:
        """Return a number in float32."""
        _check_kind(field, _FIXED32)
        return float(self.numbers(field, "<f4")[0])

    def numbers(self, field: Field, real: str = "") -> list[Any]:
        """Return the numbers of a field, a single one or several packed together.

        They are integers, or of the dtype `real` if it isn't empty.
        """
        _check_kind(field, _BYTES, _SINGLE[real])
        if field.kind == _VARINT:
            return [signed(field.value)]
        content = bytes(self._data[field.start : field.stop])
        if len(content) > 10 * MAX_VALUES:
            raise ValueError(f"it has a list of more than {MAX_VALUES} numbers")
        if real:
            if len(content) % np.dtype(real).itemsize:
                raise ValueError(NOT_ONNX)
            return list(np.frombuffer(content, real).tolist())
        values, at = [], field.start
        while at < field.stop:
            number, at = _varint(self._data, at, field.stop)
            values.append(signed(number))
        return values

    def content(self, field: Field) -> bytes:
        _check_kind(field, _BYTES)
        return bytes(self._data[field.start : field.stop])

    def text(self, field: Field) -> str:
        """Return a name as text, with one character for each byte, because it might not be UTF-8."""
        _check_kind(field, _BYTES)
        return str(self._data[field.start : field.stop], "latin-1")


def _check_kind(field: Field, *kinds: int) -> None:
    """Raise ValueError for a field of another wire type, which onnxruntime's parser would ignore."""
    if field.kind not in kinds:
        raise ValueError(NOT_ONNX)


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


def signed(value: int) -> int:
    """Return the lowest 64 bits as a signed integer in two's complement."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
