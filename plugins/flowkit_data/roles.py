"""Reads the columns of a table that have a role of their own: the weights and the labels of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flowkit.plugin import DataError
from flowkit_runtime.columns import MAX_CATEGORIES, Missing
from flowkit_runtime.errors import RowError, shortened
from flowkit_runtime.preprocessing import canonical_text, class_names
from flowkit_runtime.streaming.sources import counted
from flowkit_runtime.values import as_numbers, as_text, place_of


def weights_of_column(values: Any, name: str, rows: np.ndarray, start: int) -> np.ndarray:
    """Return the weights of some rows, from an Arrow array that begins at the row ``start`` of the file.

    Raises RowError for a weight that is missing, negative or infinite.
    """
    weights = as_numbers(values, name)[rows - start]
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row, weight = rows[bad.argmax()], weights[bad.argmax()]
        if np.isnan(weight):
            raise RowError(f"there is no weight in column {shortened(repr(name))} of row {row}")
        raise RowError(f"{place_of(name, float(weight), row)}: weights are finite, and 0 or more")
    return weights


class Labels:
    """Numbers the classes of a column in the order in which they appear, since the file is read in parts."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._codes: dict[str, int] = {}

    def codes(self, values: Any, missing: Missing, start: int) -> np.ndarray:
        """Return the numbers of the classes of an Arrow array, -1 where there is none.

        The array begins at the row ``start`` of the file. Raises RowError for a missing value, unless such rows are
        dropped, and if there are too many classes.
        """
        texts = [canonical_text(text) for text in as_text(values, self.column)]
        if missing == "refuse" and None in texts:
            row = start + texts.index(None)
            raise RowError(f"there is no value in column {shortened(repr(self.column))} of row {row}")
        codes = [-1 if text is None else self._codes.setdefault(text, len(self._codes)) for text in texts]
        if len(self._codes) > MAX_CATEGORIES:
            raise RowError(f"column {shortened(repr(self.column))} has more than {MAX_CATEGORIES:,} classes")
        return np.array(codes, np.int32)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes so far, in the order of the labels."""
        return class_names(self._codes)

    def labels(self, codes: np.ndarray, classes: tuple[str, ...], rows: np.ndarray, path: Path) -> np.ndarray:
        """Return the labels [n] of codes: the places of their classes among ``classes``.

        Raises DataError for a class that isn't among them. ``rows`` are the rows of the codes in the file ``path``.
        """
        places = {name: label for label, name in enumerate(classes)}
        labels = np.array([places.get(name, -1) for name in self._codes], np.int64)[codes]
        if (labels < 0).any():
            row = int((labels < 0).argmax())
            name = list(self._codes)[codes[row]]
            raise DataError(
                f"data/table: {path}: {place_of(self.column, name, rows[row])} ({counted(path)}); the main file has "
                f"the classes {shortened(', '.join(classes))}"
            )
        return labels
