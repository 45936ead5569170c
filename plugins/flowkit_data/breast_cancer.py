"""Defines the dataset ``data/breast_cancer``."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName
from flowkit_data.parts import rows_of_parts

COLUMNS = ("mean radius", "mean texture", "mean smoothness", "mean symmetry", "mean fractal dimension")


class BreastCancer(Dataset):
    """Five measurements of the cell nuclei of a tumour, float32 [n, 5], and the diagnosis: 0 malignant, 1 benign.

    All are means over the nuclei of one image. Radius, texture, smoothness and symmetry are positive. The fractal
    dimension is that of the outline, less 1, so it lies between 0 and 1.

    Data: the breast cancer data of scikit-learn, W. Wolberg, O. Mangasarian, N. Street, W. Street, Breast Cancer
    Wisconsin (Diagnostic), UCI Machine Learning Repository, 1995.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_breast_cancer  # it takes as long to import as torch

        data = load_breast_cancer()
        columns = [list(data.feature_names).index(name) for name in COLUMNS]
        rows = rows_of_parts(len(data.target), (0.8, 0.1, 0.1))[part]
        return Arrays(
            data.data[rows][:, columns].astype(np.float32),
            data.target[rows].astype(np.int64),
            classes=("malignant", "benign"),
        )
