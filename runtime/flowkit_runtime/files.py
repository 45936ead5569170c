"""Reads files from untrusted sources: nothing in them is executed, and the cost of reading is bounded by their size.

Errors are an OSError, or a ValueError that describes the problem without showing the file's content.
"""

import errno
import io
import json
import math
import os
import stat
import sys
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.errors import InputError, quoted

Shape = tuple[int, ...]

MAX_JSON = 2**20
"""The most bytes of a JSON file."""
_BAD_ARCHIVE = zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError
_NO_PATHS = {errno.ENAMETOOLONG: "longer than a path can be", errno.ELOOP: "a link that leads to itself"}
_ARCHIVE = b"PK\x03\x04"
_MAX_HEADER = 2**16  # bytes of a .npy file's header; numpy itself limits it to 10,000 characters


def as_path(name: str, value: Any) -> Path:
    """Return the argument `value` as a path. It need not exist.

    Raises:
        InputError: it is no path, or one that no system call takes: too long, a circular link, or with a NUL
            character. Or its name isn't valid UTF-8, which onnxruntime and safetensors can't open.
    """
    try:
        path = Path(value)
        os.fspath(path).encode()
        os.stat(path)
    except UnicodeEncodeError:
        raise InputError(f"{name} is {quoted(value)}, which isn't valid UTF-8: give it another name") from None
    except OSError as error:
        if error.errno in _NO_PATHS:
            raise InputError(f"{name} is {_NO_PATHS[error.errno]}: {quoted(value)}") from None
    except Exception as error:  # the value's own code may raise anything
        raise InputError(f"{name} must be a path, got {quoted(value)} ({error})") from error
    return path


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file. Raises OSError, or ValueError for a pipe or device, which may block or never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        raise ValueError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def stays_inside(path: Path, directory: Path) -> bool:
    """Return True if `path` lies in `directory` after links are resolved. Return False for circular links."""
    try:
        return path.resolve().is_relative_to(directory.resolve())
    except (OSError, RuntimeError):
        return False


def read_json(path: Path, most: int = MAX_JSON) -> Any:
    """Return the value in a JSON file. Raises ValueError for NaN, infinities, duplicate keys and too many bytes."""
    return parse_json(read_short(path, most))


def read_short(path: Path, most: int = MAX_JSON) -> bytes:
    """Return the content of a file. Raises ValueError if it is longer than ``most`` bytes."""
    with open_file(path) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"it is longer than {most:,} bytes")
    return raw


def parse_json(raw: bytes) -> Any:
    """Return the value of a JSON text, with the same checks as `read_json`."""
    try:
        return json.loads(
            raw.decode("utf-8"), parse_constant=_finite, parse_float=_finite, object_pairs_hook=_without_duplicates
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        if "set_int_max_str_digits" not in str(error):
            raise
        raise ValueError(f"it holds a whole number of more than {sys.get_int_max_str_digits():,} digits") from None


def map_npy(path: Path) -> NDArray[Any]:
    """Return the memory-mapped array of a .npy file. Raises ValueError for Python objects, which need pickle."""
    with open_file(path) as file:
        head = io.BytesIO(file.read(_MAX_HEADER))
        length = os.fstat(file.fileno()).st_size
    shape, dtype, _ = _read_header(head)
    _check_length(shape, dtype, length - head.tell())
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def parse_npy(raw: bytes) -> NDArray[Any]:
    """Return the array in the content of a .npy file. Raises ValueError as `map_npy` does."""
    head = io.BytesIO(raw)
    shape, dtype, fortran = _read_header(head)
    _check_length(shape, dtype, len(raw) - head.tell())
    flat = np.frombuffer(raw, dtype, math.prod(shape), head.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def parse_npz(raw: bytes, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays in the content of an uncompressed .npz file. Raises ValueError for one of another name."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
            if (other := next((name for name in found if name not in names), None)) is not None:
                raise ValueError(f"it holds {quoted(other)}; its arrays may be {', '.join(names)}")
            return {name: _read_member(archive, name) for name in found}
    except _BAD_ARCHIVE as error:
        raise ValueError(f"it is not an .npz file: {error}") from error


def read_npz(path: Path, shapes: Mapping[str, Shape], rows: range) -> dict[str, NDArray[Any]]:
    """Return the arrays of an uncompressed .npz, each [n, *shape] with the shape given for its name.

    n is the same for all of them. Raises ValueError if n is not in `rows`, or if an array is missing or has another
    shape.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            arrays = {name: _read_member(archive, name) for name in shapes}
    except _BAD_ARCHIVE as error:
        raise ValueError(f"it is not an .npz file of {', '.join(shapes)}: {error}") from error
    for name, array in arrays.items():
        _check_rows(name, array, shapes[name], rows)
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError("its arrays differ in their number of rows")
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return an array of an archive."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"{name}.npy is compressed")
    return parse_npy(archive.read(info))


def _check_rows(name: str, array: NDArray[Any], wanted: Shape, rows: range) -> None:
    if array.ndim != 1 + len(wanted) or array.shape[1:] != wanted:
        raise ValueError(f"{name}.npy is of shape {list(array.shape)}, not [{', '.join(map(str, ('n', *wanted)))}]")
    if len(array) not in rows:
        raise ValueError(f"{name}.npy is of shape {list(array.shape)}: its rows must be {rows[0]} to {rows[-1]}")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}.npy holds {array.dtype}, not numbers")


def _read_header(head: io.BytesIO) -> tuple[Shape, np.dtype[Any], bool]:
    """Return the shape, the dtype, and True for Fortran order. numpy parses the header as a Python literal."""
    try:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(head)
    except Exception as error:  # ValueError, or what a literal can cause: MemoryError, RecursionError, …
        if head.getvalue().startswith(_ARCHIVE):
            raise ValueError("it is an archive, such as .npz: save each of its arrays as .npy") from error
        raise ValueError("it does not begin like a .npy file") from error
    if dtype.kind not in "biufcSU":
        raise ValueError(f"it holds {dtype.kind!r}, Python objects or records, not plain numbers")
    if any(type(size) is not int or size < 0 for size in shape):  # bools are ints, too
        raise ValueError(f"its header announces the shape {list(shape)}")
    return shape, dtype, fortran


def _check_length(shape: Shape, dtype: np.dtype[Any], length: int) -> None:
    announced = math.prod(shape) * dtype.itemsize
    if announced != length:
        raise ValueError(
            f"it is truncated or damaged: its header announces {announced} bytes, {list(shape)} of {dtype}, "
            f"and {length} follow"
        )


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds {text[:20]}, which is not a finite number")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("it has a key twice")
    return result
