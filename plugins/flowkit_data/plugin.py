"""Registers the datasets of this package, with their fields. This module imports neither numpy nor scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from flowkit.plugin import DatasetConfig, Descriptor, hookimpl

Toy = Literal["moons", "circles", "rings", "spirals", "gaussians", "checkerboard"]


def _sum_to_one(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(fractions) - 1) > 1e-6:
        raise PydanticCustomError("fractions", "must sum to 1: the shares of train, val and test")
    return fractions


Fraction = Annotated[float, Field(gt=0, lt=1)]
Fractions = Annotated[tuple[Fraction, Fraction, Fraction], AfterValidator(_sum_to_one)]


class BreastCancerConfig(DatasetConfig):
    """Five measurements of 569 tumours, from scikit-learn's breast cancer data, [5], and the diagnosis, 0 or 1.

    Four columns are positive and the last lies between 0 and 1. The tumours are divided 80/10/10 by a fixed
    permutation.
    """


class DiabetesConfig(DatasetConfig):
    """The 442 patients of scikit-learn's diabetes data: the progression of the disease, [1], given 10 features.

    The features are scaled as scikit-learn returns them, to a mean of 0 and a sum of squares of 1. The patients are
    divided 80/10/10 by a fixed permutation.
    """


class DigitsConfig(DatasetConfig):
    """The 1,797 handwritten digits of scikit-learn, [1, 8, 8] with 17 levels. The digit is the context.

    They are divided 80/10/10 by a fixed permutation.
    """


class MnistConfig(DatasetConfig):
    """Images and labels in MNIST's file format, with 256 levels. The label is the context.

    The test part is the t10k files. The validation part is the last tenth of the training files.
    """

    path: Path
    """The directory of (train|t10k)-images-idx3-ubyte and (train|t10k)-labels-idx1-ubyte, .gz or not."""


class NpyConfig(DatasetConfig):
    """A numpy array of events [n, *event], read from a .npy file and divided by a fixed permutation."""

    path: Path
    """The .npy file of the events: integers for an event with levels, otherwise floats."""
    context: Path | None = None
    """The .npy file of the contexts, one for each event: labels [n], or arrays [n, *context]."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """The shares of the training, validation and test parts. They sum to 1."""


class ToyConfig(DatasetConfig):
    """Points in the plane, [2]. The arm, ring or cluster of a point is its context; the checkerboard has none."""

    name: Toy
    """The distribution of the points."""
    n: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    """The number of training points. Validation and test have a tenth as many each."""
    noise: Annotated[float, Field(ge=0, le=1000)] = 0.05
    """The standard deviation of the normal noise that is added to each coordinate."""


@hookimpl
def flowkit_register_datasets() -> list[Descriptor]:
    return [
        Descriptor("breast_cancer", BreastCancerConfig, "flowkit_data.breast_cancer:BreastCancer"),
        Descriptor("diabetes", DiabetesConfig, "flowkit_data.diabetes:Diabetes"),
        Descriptor("digits", DigitsConfig, "flowkit_data.digits:Digits"),
        Descriptor("mnist", MnistConfig, "flowkit_data.mnist:Mnist"),
        Descriptor("npy", NpyConfig, "flowkit_data.npy:Npy"),
        Descriptor("toy", ToyConfig, "flowkit_data.toy:ToyPoints"),
    ]
