"""Defines the dataset ``data/diabetes``."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName
from flowkit_data.parts import rows_of_parts


class Diabetes(Dataset):
    """The diabetes data of scikit-learn: the progression float32 [n, 1], 25 … 346, and 10 features float32 [n, 10].

    The progression is a measure of the disease one year after the features were measured: age, sex, body mass index,
    blood pressure and six blood serum values.

    Data: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Least Angle Regression, Annals of Statistics 32, 2004.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_diabetes  # it takes as long to import as torch

        features, progression = load_diabetes(return_X_y=True)
        rows = rows_of_parts(len(progression), (0.8, 0.1, 0.1))[part]
        return Arrays(progression[rows, None].astype(np.float32), features[rows].astype(np.float32))
