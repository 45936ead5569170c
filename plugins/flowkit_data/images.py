"""Defines the dataset ``data/images``, which reads folders of images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows, Shape
from flowkit_data.parts import Shares, rows_of
from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.streaming.images import SUFFIXES, ImageReader, image_files


class ImageFolder(Dataset):
    """Images uint8 [n, *shape] in a folder. If they are in sub-folders, the labels [n] number these by their names.

    The images are read once, and kept in a temporary file that is memory-mapped: there may be more than fit into the
    memory.
    """

    def __init__(self, path: Path, shape: Shape, flip: bool, fractions: Shares):
        self.path, self.shape, self.flip, self.fractions = path, shape, flip, fractions

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data. Raises DataError if there are no images, or one can't be read."""
        rows = rows_of(part, len(self._files), self.fractions)
        if not len(rows):
            raise DataError(f"data/images: {self.path} has {len(self._files)} images, which leaves none to {part}")
        if self.flip and part == "train":
            rows = np.concatenate([rows, rows + len(self._files)])
        labels = None if self._labels is None else np.tile(self._labels, 2)[rows]
        return Arrays(Rows(self._images, rows), labels)

    @cached_property
    def _folders(self) -> list[Path]:
        """The folders with images, each of which is a class; or the folder itself, if it has no such sub-folder."""
        if not self.path.is_dir():
            raise DataError(f"data/images: {self.path} is no folder")
        inner = sorted(each for each in self.path.iterdir() if each.is_dir() and _images_in(each))
        if inner and _images_in(self.path):
            raise DataError(f"data/images: {self.path} has images beside {inner[0].name}: move them into a sub-folder")
        return inner or [self.path]

    @cached_property
    def _files(self) -> list[Path]:
        files = [file for folder in self._folders for file in _images_in(folder)]
        if not files:
            raise DataError(f"data/images: {self.path} holds no images ({', '.join(sorted(SUFFIXES))})")
        return files

    @cached_property
    def _labels(self) -> np.ndarray | None:
        if len(self._folders) < 2:
            return None
        return np.array([self._folders.index(file.parent) for file in self._files])

    @cached_property
    def _images(self) -> np.ndarray:
        """All images, and behind them their mirror images, if these are wanted."""
        with tempfile.TemporaryFile() as file:
            try:
                for image in self._read():
                    file.write(image.tobytes())
            except FlowRuntimeError as error:
                raise DataError(f"data/images: {error}") from error
            file.flush()
            values = np.memmap(file, np.uint8, "r")
        return values.reshape(-1, *self.shape)

    def _read(self) -> Iterator[np.ndarray]:
        reader = ImageReader(self.shape, resize=True)
        yield from map(reader.read, self._files)
        if self.flip:
            yield from (reader.read(file)[:, :, ::-1] for file in self._files)


def _images_in(folder: Path) -> list[Path]:
    try:
        return image_files(folder)
    except FlowRuntimeError as error:
        raise DataError(f"data/images: {error}") from error
