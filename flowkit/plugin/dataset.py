"""What a dataset plugin gives: arrays of events, and of contexts where the flow has one. numpy only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # numpy is imported by whoever loads data, not by whoever validates a spec
    import numpy as np

SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Arrays:
    """``x`` [n, *event], integers for data with levels, floats otherwise; ``context`` [n, *context] or labels [n]."""

    x: np.ndarray
    context: np.ndarray | None = None


class Dataset(ABC):
    """A source of data with a fixed division into training, validation and test parts."""

    @abstractmethod
    def load(self, split: SplitName) -> Arrays:
        """One part; labels come as ``context`` if there are any. Raises DataError if it can't be read."""
