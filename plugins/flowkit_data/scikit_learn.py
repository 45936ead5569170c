"""Defines the datasets of scikit-learn: ``data/breast_cancer``, ``data/diabetes`` and ``data/digits``."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import FRACTIONS, Arrays, Dataset, PartName
from flowkit_data.parts import rows_of_parts

COLUMNS = ("mean radius", "mean texture", "mean smoothness", "mean symmetry", "mean fractal dimension")

# Each class imports scikit-learn when it loads: it takes as long to import as torch.


class BreastCancer(Dataset):
    """Five measurements of the cell nuclei of a tumour, float32 [n, 5], and the diagnosis: 0 malignant, 1 benign.

    All are means over the nuclei of one image. Radius, texture, smoothness and symmetry are positive. The fractal
    dimension is that of the outline, less 1, so it lies between 0 and 1.

    Data: the breast cancer data of scikit-learn, W. Wolberg, O. Mangasarian, N. Street, W. Street, Breast Cancer
    Wisconsin (Diagnostic), UCI Machine Learning Repository, 1995.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_breast_cancer

        data = load_breast_cancer()
        columns = [list(data.feature_names).index(name) for name in COLUMNS]
        rows = _rows(len(data.target), part)
        x, labels = data.data[rows][:, columns].astype(np.float32), data.target[rows].astype(np.int64)
        return Arrays(x, labels, classes=("malignant", "benign"))


class Diabetes(Dataset):
    """The diabetes data of scikit-learn: the progression float32 [n, 1], 25 … 346, and 10 features float32 [n, 10].

    The progression is a measure of the disease one year after the features were measured: age, sex, body mass index,
    blood pressure and six blood serum values.

    Data: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Least Angle Regression, Annals of Statistics 32, 2004.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_diabetes

        features, progression = load_diabetes(return_X_y=True)
        rows = _rows(len(progression), part)
        return Arrays(progression[rows, None].astype(np.float32), features[rows].astype(np.float32))


class Digits(Dataset):
    """The handwritten digits of scikit-learn: uint8 [n, 1, 8, 8] with values 0 … 16, and labels 0 … 9.

    Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
    """

    def load(self, part: PartName) -> Arrays:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        rows = _rows(len(images), part)
        return Arrays(images[rows].astype(np.uint8).reshape(-1, 1, 8, 8), labels[rows].astype(np.int64))


def _rows(n: int, part: PartName) -> np.ndarray:
    return rows_of_parts(n, FRACTIONS)[part]
