"""Defines the dataset ``data/images``, which reads folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows, Shape
from flowkit.plugin.rows import mapped
from flowkit_data.parts import Shares, check_enough, rows_of_parts
from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.streaming.images import SUFFIXES, ImageReader, folders_in, image_files


class ImageFolder(Dataset):
    """Images uint8 [n, *shape] in a folder. If they are in sub-folders, the labels [n] number these by their names.

    Hidden files and folders are ignored. The images are read once, and kept in a temporary file that is memory-mapped:
    there may be more than fit into the memory.

    Args:
        path: The folder.
        shape: The shape that each image gets, [channels, height, width].
        flip: Add the mirror image of each training image.
        fractions: The shares of the training, the validation and the test part.
    """

    def __init__(self, path: Path, shape: Shape, flip: bool, fractions: Shares):
        self.path, self.shape, self.flip, self.fractions = path, shape, flip, fractions

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            DataError: If there are no images for the part, or one can't be read.
        """
        check_enough(len(self._files), self.fractions, f"data/images: {self.path}")
        rows = rows_of_parts(len(self._files), self.fractions)[part]
        labels = None if self._labels is None else self._labels[rows]
        if self.flip:
            originals, mirrored = 2 * rows, 2 * rows + 1
            rows = np.concatenate([originals, mirrored]) if part == "train" else originals
        if labels is not None and len(labels) < len(rows):
            labels = np.tile(labels, 2)
        names = () if labels is None else tuple(self._classes)
        return Arrays(Rows(self._images, rows), labels, classes=names)

    @cached_property
    def _classes(self) -> dict[str, list[Path]]:
        """The images of each sub-folder that has some, by its name; or those of the folder itself, if there is none."""
        if not self.path.is_dir():
            raise DataError(f"data/images: {self.path} is no folder")
        own = _images_in(self.path)
        inner = {folder.name: files for folder in folders_in(self.path) if (files := _images_in(folder))}
        if inner and own:
            raise DataError(f"data/images: {self.path} has images beside {min(inner)}: move them into a sub-folder")
        if not (inner or own):
            raise DataError(f"data/images: {self.path} holds no images ({', '.join(sorted(SUFFIXES))})")
        return inner or {self.path.name: own}

    @cached_property
    def _files(self) -> list[Path]:
        return [file for files in self._classes.values() for file in files]

    @cached_property
    def _labels(self) -> np.ndarray | None:
        if len(self._classes) < 2:
            return None
        return np.repeat(np.arange(len(self._classes)), [len(files) for files in self._classes.values()])

    @cached_property
    def _images(self) -> np.ndarray:
        """All images, each followed by its mirror image if these are wanted."""
        return mapped(self._read(), np.uint8).reshape(-1, *self.shape)

    def _read(self) -> Iterator[np.ndarray]:
        reader = ImageReader(self.shape, resize=True)
        for file in self._files:
            try:
                image = reader.read(file)
            except FlowRuntimeError as error:
                raise DataError(f"data/images: {error}") from error
            yield image
            if self.flip:
                yield image[:, :, ::-1]


def _images_in(folder: Path) -> list[Path]:
    try:
        return image_files(folder)
    except FlowRuntimeError as error:
        raise DataError(f"data/images: {error}") from error
