"""Defines the dataset ``data/mnist``, which reads the idx format of MNIST, Fashion-MNIST, KMNIST and others."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName
from flowkit_runtime.files import open_file

HELD_OUT = 0.1
"""The share of the training files that is the validation part. It is taken from their end."""

SMALL, MAX_RATIO = 2**20, 100
"""A file may have as many values as the larger of SMALL and MAX_RATIO times its size in bytes.

Gzipped MNIST has about 5 values per byte.
"""


class Mnist(Dataset):
    """Images uint8 [n, 1, h, w] and labels [n], read from a directory of four idx files, gzipped or not.

    Args:
        path: The directory.
    """

    def __init__(self, path: Path):
        self.path = Path(path)

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            DataError: If a file is missing, truncated or in another format. The message names it.
        """
        prefix = "t10k" if part == "test" else "train"
        images = self._read(f"{prefix}-images-idx3-ubyte", dimensions=3)[:, None]  # [n, 1, h, w]
        labels = self._read(f"{prefix}-labels-idx1-ubyte", dimensions=1)
        if len(images) != len(labels):
            raise DataError(f"{self.path}: {len(images)} {prefix} images, but {len(labels)} labels")
        held_out = int(len(images) * HELD_OUT)
        rows = {"train": slice(0, len(images) - held_out), "val": slice(len(images) - held_out, None)}
        chosen = rows.get(part, slice(None))
        return Arrays(images[chosen], labels[chosen].astype(np.int64))

    def _read(self, name: str, dimensions: int) -> np.ndarray:
        plain = self.path / name
        file = next((file for file in (plain, self.path / f"{name}.gz") if file.is_file()), None)
        if file is None:
            raise DataError(
                f"data/mnist: there is no {plain} or {name}.gz: put MNIST's four files, gzipped or not, into "
                f"{self.path}: (train|t10k)-images-idx3-ubyte and (train|t10k)-labels-idx1-ubyte"
            )
        try:
            return read_idx(file, dimensions)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"data/mnist: {file} can't be read, or is truncated: {error}") from error


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of bytes and return its array.

    The file holds a magic number (0, 0, 8, dimensions), a big-endian uint32 for each dimension, and the values. No more
    is decompressed than the header announces. Raises ValueError if the file is malformed, and the errors of gzip and
    zlib.
    """
    magic = bytes([0, 0, 8, dimensions])
    with open_file(file) as packed, gzip.GzipFile(fileobj=packed) if file.suffix == ".gz" else packed as stream:
        head = stream.read(4 * (1 + dimensions))
        if head[:4] != magic or len(head) < 4 * (1 + dimensions):
            raise ValueError(f"not an idx file of {dimensions}-dimensional bytes: it must begin with {magic.hex(' ')}")
        shape = struct.unpack(f">{dimensions}I", head[4:])
        most = max(SMALL, MAX_RATIO * os.fstat(packed.fileno()).st_size)
        if math.prod(shape) > most:
            raise ValueError(f"its header announces {list(shape)} values, far more than are in it: unpack it first")
        values = stream.read(math.prod(shape) + 1)
    if len(values) != math.prod(shape):
        follow = "more" if len(values) > math.prod(shape) else str(len(values))
        raise ValueError(f"its header announces {list(shape)}, {math.prod(shape)} values, and {follow} follow")
    return np.frombuffer(values, np.uint8).reshape(shape)
