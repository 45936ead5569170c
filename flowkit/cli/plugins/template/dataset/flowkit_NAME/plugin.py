"""What a spec may say of the dataset in this package. Imports no torch, and no numpy."""

from typing import Annotated

from flowkit.plugin import DatasetConfig, Descriptor, hookimpl
from pydantic import Field, NonNegativeFloat


class NameDatasetConfig(DatasetConfig):
    """Points in the plane, [2], on a figure of eight."""

    n: Annotated[int, Field(ge=10)] = 10_000
    """Points for training; validation and test have a tenth as many each."""
    noise: NonNegativeFloat = 0.05
    """The standard deviation of the normal noise on each coordinate."""


@hookimpl
def flowkit_register_datasets() -> list[Descriptor]:
    return [
        Descriptor("dataset", NameDatasetConfig, "flowkit_NAME.dataset:NameDataset"),
    ]
