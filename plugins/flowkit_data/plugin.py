"""Registers the datasets of this package, with their fields. This module imports neither numpy nor scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowkit.plugin import FRACTIONS, DatasetConfig, Descriptor, PluginConfig, event_of, hookimpl
from flowkit_runtime.columns import (
    MAX_CATEGORIES,
    MAX_COLUMNS,
    MAX_NUMBER,
    MAX_WIDTH,
    Column,
    ColumnKind,
    Missing,
    Preprocessing,
)

MAX_FLOAT32 = 3.4028234e38
"""The largest number of float32."""

Toy = Literal["moons", "circles", "rings", "spirals", "gaussians", "checkerboard"]


def _sum_to_one(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(fractions) - 1) > 1e-6:
        raise PydanticCustomError("fractions", "must sum to 1: the shares of train, val and test")
    return fractions


ONLY_CONTEXT = {
    "fill": "data.missing says what happens to its missing values",
    "period": "its values are numbers on a line",
}
"""Fields that a column of an event can't have -> what to write instead."""

Side = Annotated[int, Field(ge=1, le=4096)]
ImageShape = tuple[Annotated[int, Field(ge=1, le=4)], Side, Side]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def _not_empty(path: Any) -> Any:
    if path == "":  # pathlib reads it as the working directory
        raise PydanticCustomError("path", "the path is empty: name a file or a folder")
    return path


DataPath = Annotated[Path, BeforeValidator(_not_empty)]
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


class DrawsConfig(DatasetConfig):
    """Parameters (μ, σ) of normal distributions, [2], σ > 0, and draws from each as its context, [size, 1].

    It is a simulator with a known posterior: σ² is inverse gamma with shape and scale 10, and μ is N(0, σ²).
    """

    n: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    """The number of training events. Validation and test have a tenth as many each."""
    size: Annotated[int, Field(ge=1, le=1000)] = 20
    """The number of draws in the context of an event."""


class ImagesConfig(DatasetConfig):
    """A folder of images with 256 levels. If they are in sub-folders, these are classes, in the order of their names.

    The centre of each image is cropped to the aspect ratio of the event, and then resized, as by
    `flowkit-runtime score --resize`. The images are divided by a fixed permutation.
    """

    path: DataPath
    """The folder."""
    shape: Annotated[ImageShape | None, Field(validate_default=True)] = None
    """Channels (1 grey, 3 RGB, 4 RGBA), height and width; by default the shape of the event."""
    flip: bool = False
    """true: train on the mirror image of each image, too."""
    fractions: Fractions = FRACTIONS
    """The shares of the training, validation and test parts. They sum to 1."""

    @field_validator("shape", mode="before")
    @classmethod
    def _of_the_event(cls, shape: Any, info: ValidationInfo) -> Any:
        event = event_of(info)
        return event.shape if shape is None and event is not None and len(event.shape) == 3 else shape

    @model_validator(mode="after")
    def _of_images(self) -> ImagesConfig:
        if self.shape is None or self.shape[0] not in (1, 3, 4):
            raise PydanticCustomError("shape", "images are [1, 3 or 4, height, width]: give the event such a shape")
        return self


class MnistConfig(DatasetConfig):
    """Images and labels in MNIST's file format, with 256 levels. The label is the context.

    The test part is the t10k files. The validation part is the last tenth of the training files.
    """

    path: DataPath
    """The directory of (train|t10k)-images-idx3-ubyte and (train|t10k)-labels-idx1-ubyte, .gz or not."""


class NpyConfig(DatasetConfig):
    """A numpy array of events [n, *event], read from a .npy file and divided by a fixed permutation."""

    path: DataPath
    """The .npy file of the events: integers for an event with levels, otherwise floats."""
    context: DataPath | None = None
    """The .npy file of the contexts, one for each event: labels [n], or arrays [n, *context]."""
    fractions: Fractions = FRACTIONS
    """The shares of the training, validation and test parts. They sum to 1."""


class ColumnConfig(PluginConfig):
    """A column of a table, and how its values become numbers."""

    column: str
    """The name of the column."""
    kind: ColumnKind = "number"
    """The kind of its values: number; integer, which gets noise between 0 and 1 in an event; time, in days since 1970;
    or category, which is its index with noise in an event, and one-hot in a context. Multiples of a step are integers,
    with the step as their scale."""
    offset: Annotated[float, Field(gt=-MAX_NUMBER, lt=MAX_NUMBER)] = 0.0
    """The offset, which is subtracted from a number, an integer or a time."""
    scale: Annotated[float, Field(gt=0, lt=MAX_NUMBER)] = 1.0
    """The scale, by which a number, an integer or a time is divided after the offset. Densities are of the quotient."""
    fill: Annotated[float, Field(gt=-MAX_NUMBER, lt=MAX_NUMBER)] | None = None
    """A number for missing values in a context. A second value of the context is then 1 where a value was missing."""
    period: Annotated[float, Field(gt=0, lt=MAX_NUMBER)] | None = None
    """The length of the circle that values of a context lie on, such as 24 for hours. They become cosine and sine."""
    categories: Annotated[tuple[str | None, ...], Field(min_length=1, max_length=MAX_CATEGORIES)] | None = None
    """The values of a category. null among them stands for a missing value."""

    @model_validator(mode="after")
    def _categories_of_a_category(self) -> ColumnConfig:
        if self.categories is None and self.kind == "category":
            needed = "kind: category needs categories: [a, b], the values of the column; `flowkit new FILE` writes them"
            raise PydanticCustomError("categories", needed)
        if self.categories is not None and self.kind != "category":
            raise PydanticCustomError("categories", "categories belong to a column of kind: category")
        if self.categories is not None and len(set(self.categories)) < len(self.categories):
            raise PydanticCustomError("categories", "has a category twice")
        if self.categories is not None and "" in self.categories:
            raise PydanticCustomError("categories", "has an empty text, which is a missing value: write null")
        if self.categories is not None and (self.offset, self.scale, self.fill, self.period) != (0, 1, None, None):
            wrong = "take no offset, scale, fill or period; null stands for a missing value"
            raise PydanticCustomError("categories", wrong)
        if self.period is not None and self.scale != 1:
            raise PydanticCustomError("period", "takes the place of scale: it is in the units of the column")
        return self

    @model_validator(mode="after")
    def _fill_that_fits(self) -> ColumnConfig:
        if self.fill is None:
            return self
        filled = (self.fill - self.offset) / self.scale
        if abs(filled) > MAX_FLOAT32:
            raise PydanticCustomError(
                "fill", "has a fill that is too large for float32, after the offset and the scale"
            )
        if self.kind == "integer" and abs(filled - round(filled)) > 1e-6:
            raise PydanticCustomError("fill", "has a fill that is no whole number of steps, as an integer is")
        return self

    def described(self) -> Column:
        return Column(self.column, self.kind, self.offset, self.scale, self.fill, self.period, self.categories or ())


ColumnConfigs = Annotated[tuple[ColumnConfig, ...], Field(max_length=MAX_COLUMNS)]


class TableConfig(DatasetConfig):
    """A table: a CSV, Parquet or Arrow file. Columns make the event [d], and the context if there is one.

    The rows are divided by a fixed permutation, unless split, group or time says otherwise. The bundle of a flow that
    was trained on a table takes the same file.
    """

    path: DataPath
    """The file: .csv, .parquet, .arrow or .feather."""
    event: Annotated[ColumnConfigs, Field(min_length=1)]
    """The columns that make the event, one value each."""
    context: ColumnConfigs = ()
    """The columns that make the context: one value each, two with a period, one more with a fill, and as many as
    there are categories."""
    label: str | None = None
    """A column of classes, for context: {classes: k}. Its k different values are the names of the classes."""
    weight: str | None = None
    """A column of weights: the losses and scores of training and evaluation are weighted means. A row of weight 0 is
    left out."""
    missing: Missing = "refuse"
    """The treatment of a row that lacks a value: refuse it with an error, or drop it."""
    fractions: Fractions = FRACTIONS
    """The shares of the training, validation and test parts. They sum to 1."""
    split: str | None = None
    """A column that says the part of each row: train, val or test."""
    group: str | None = None
    """A column whose values stay together: all rows of a group are in one part."""
    time: str | None = None
    """A column of times or numbers: the earliest rows are trained on, and the latest are the test part."""
    val: DataPath | None = None
    """A file with the rows of the validation part; path has the others."""
    test: DataPath | None = None
    """A file with the rows of the test part; path has the others."""

    @field_validator("event")
    @classmethod
    def _of_events(cls, event: ColumnConfigs) -> ColumnConfigs:
        for each in event:
            for name, instead in ONLY_CONTEXT.items():
                if getattr(each, name) is not None:
                    message = f"{name} is for columns of the context. Leave it out of {{column}}: {instead}"
                    raise PydanticCustomError("context", message, {"column": repr(each.column)})
        return event

    @model_validator(mode="after")
    def _one_division(self) -> TableConfig:
        if sum(each is not None for each in (self.split, self.group, self.time)) > 1:
            raise PydanticCustomError("parts", "takes at most one of split, group and time")
        if self.split is not None and (self.val is not None or self.test is not None):
            raise PydanticCustomError("parts", "takes split, or the files val and test, not both")
        roles = [name for name in (self.label, self.weight) if name is not None]
        names = [*(each.column for each in (*self.event, *self.context)), *roles]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise PydanticCustomError("columns", "names the column {name} twice", {"name": repr(twice)})
        if self.label is not None and self.context:
            raise PydanticCustomError("label", "label takes the place of context: leave out one of them")
        if self.split is not None and self.fractions != FRACTIONS:
            raise PydanticCustomError("parts", "takes split, which says the part of each row, or fractions, not both")
        if (width := sum(each.described().width for each in self.context)) > MAX_WIDTH:
            details = {"width": width, "most": MAX_WIDTH}
            raise PydanticCustomError("context", "makes {width} values; the most is {most}", details)
        return self

    def preprocessing(self) -> Preprocessing:
        """Return how the columns become events and contexts."""
        event, context = (tuple(each.described() for each in part) for part in (self.event, self.context))
        label = None if self.label is None else Column(self.label, "category")
        return Preprocessing(event, context, self.missing, label)


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
        Descriptor("breast_cancer", BreastCancerConfig, "flowkit_data.scikit_learn:BreastCancer"),
        Descriptor("diabetes", DiabetesConfig, "flowkit_data.scikit_learn:Diabetes"),
        Descriptor("digits", DigitsConfig, "flowkit_data.scikit_learn:Digits"),
        Descriptor("images", ImagesConfig, "flowkit_data.images:ImageFolder"),
        Descriptor("mnist", MnistConfig, "flowkit_data.mnist:Mnist"),
        Descriptor("npy", NpyConfig, "flowkit_data.npy:Npy"),
        Descriptor("table", TableConfig, "flowkit_data.table:Table"),
        Descriptor("draws", DrawsConfig, "flowkit_data.draws:Draws"),
        Descriptor("toy", ToyConfig, "flowkit_data.toy:ToyPoints"),
    ]
