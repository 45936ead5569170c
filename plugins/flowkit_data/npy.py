"""Defines the dataset ``data/npy``, which reads .npy files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from flowkit.plugin import Arrays, DataError, Dataset, PartName, Rows
from flowkit_data.parts import check_enough, rows_of_parts
from flowkit_runtime.files import map_npy


class Npy(Dataset):
    """Events [n, *event], and contexts [n, …] if there are any, read from .npy files.

    The files are memory-mapped and read one batch at a time, so they may be larger than the memory.

    Args:
        path: The file of the events.
        context: The file of the contexts, or None without one.
        fractions: The shares of the training, the validation and the test part.
    """

    def __init__(self, path: Path, context: Path | None, fractions: tuple[float, float, float]):
        self.path, self.context, self.fractions = path, context, fractions

    def load(self, part: PartName) -> Arrays:
        """Return one part of the data, which is read when it is used.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            DataError: If a file isn't a .npy array of numbers, or if the files differ in length.
        """
        check_enough(len(self._events), self.fractions, f"data/npy: {self.path}")
        rows = self._parts[part]
        contexts = None if self._contexts is None else Rows(self._contexts, rows)
        return Arrays(Rows(self._events, rows), contexts, rows=rows)

    @cached_property
    def _parts(self) -> dict[PartName, np.ndarray]:
        return rows_of_parts(len(self._events), self.fractions)

    @cached_property
    def _events(self) -> np.ndarray:
        return read_array(self.path)

    @cached_property
    def _contexts(self) -> np.ndarray | None:
        if self.context is None:
            return None
        contexts = read_array(self.context)
        if len(contexts) != len(self._events):
            raise DataError(
                f"data/npy: {self.path} has {len(self._events)} rows, and {self.context} has {len(contexts)}"
            )
        return contexts


def read_array(path: Path) -> np.ndarray:
    """Map a .npy file of numbers. Raises DataError, also for pickled objects, which are never loaded."""
    try:
        array = map_npy(path)
    except FileNotFoundError as error:
        raise DataError(f"data/npy: there is no file {path}") from error
    except OSError as error:
        raise DataError(f"data/npy: {path} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"data/npy: {path} is not a .npy file of numbers: {error}") from error
    if array.size == 0 or array.ndim == 0 or array.dtype.kind not in "biuf":
        given = f"not {array.dtype} {list(array.shape)}"
        raise DataError(f"data/npy: {path} must hold one array of numbers, a row an event, {given}")
    return array
