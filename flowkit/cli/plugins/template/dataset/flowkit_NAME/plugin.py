"""Registers the dataset of this package, with the fields that a spec may give it. It imports no torch, and no numpy."""

from typing import Annotated

from flowkit.plugin import DatasetConfig, Descriptor, hookimpl
from pydantic import Field, NonNegativeFloat


class NameDatasetConfig(DatasetConfig):
    """Points in the plane, [2], on a figure of eight."""

    n: Annotated[int, Field(ge=10)] = 10_000
    """The number of points for training. Validation and test have a tenth as many each."""
    noise: NonNegativeFloat = 0.05
    """The standard deviation of the normal noise on each coordinate."""


@hookimpl
def flowkit_register_datasets() -> list[Descriptor]:
    return [
        Descriptor("dataset", NameDatasetConfig, "flowkit_NAME.dataset:NameDataset"),
    ]
