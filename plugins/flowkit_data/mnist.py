"""``data/mnist``: the idx format that MNIST, Fashion-MNIST, KMNIST and others come in."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin import Arrays, Dataset
from flowkit.plugin.dataset import SplitName

HELD_OUT = 0.1
"""The share of the training files, at their end, that is the validation part."""


class Mnist(Dataset):
    """Images uint8 [n, 1, h, w] and labels [n] from a directory of four idx files, gzipped or not."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def load(self, split: SplitName) -> Arrays:
        """Raises DataError, naming the file, if one is missing, truncated or of another format."""
        prefix = "t10k" if split == "test" else "train"
        images = self._read(f"{prefix}-images-idx3-ubyte", dimensions=3)[:, None]  # [n, 1, h, w]
        labels = self._read(f"{prefix}-labels-idx1-ubyte", dimensions=1)
        if len(images) != len(labels):
            raise DataError(f"{self.path}: {len(images)} {prefix} images, but {len(labels)} labels")
        held_out = int(len(images) * HELD_OUT)
        rows = {"train": slice(0, len(images) - held_out), "val": slice(len(images) - held_out, None)}
        chosen = rows.get(split, slice(None))
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
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"data/mnist: {file} can't be read, or is truncated: {error}") from error
        return read_idx(content, dimensions, file)


def read_idx(content: bytes, dimensions: int, file: Path) -> np.ndarray:
    """An idx file: the magic (0, 0, 8 for bytes, dimensions), a big-endian uint32 a dimension, the values."""
    magic = bytes([0, 0, 8, dimensions])
    header = 4 * (1 + dimensions)
    if content[:4] != magic or len(content) < header:
        raise DataError(
            f"data/mnist: {file} is not an idx file of {dimensions}-dimensional bytes: "
            f"it must begin with {magic.hex(' ')}, and begins with {content[:4].hex(' ') or 'nothing'}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"data/mnist: {file} is truncated or damaged: its header announces {list(shape)}, "
            f"{math.prod(shape)} values, and {len(content) - header} follow"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
