"""Defines the dataset ``data/digits``."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName
from flowkit_data.parts import rows_of_parts


class Digits(Dataset):
    """The handwritten digits of scikit-learn: uint8 [n, 1, 8, 8] with values 0 … 16, and labels 0 … 9.

    Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_digits  # it takes as long to import as torch

        images, labels = load_digits(return_X_y=True)
        rows = rows_of_parts(len(images), (0.8, 0.1, 0.1))[part]
        return Arrays(images[rows].astype(np.uint8).reshape(-1, 1, 8, 8), labels[rows].astype(np.int64))
