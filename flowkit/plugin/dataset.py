"""Defines datasets, and what they give: arrays of events, and of contexts if the flow has one. It needs numpy only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from flowkit.errors import FlowkitError, PluginError
from flowkit.plugin.failure import guarded

if TYPE_CHECKING:  # numpy is imported by whoever loads data, not by whoever validates a spec
    import numpy as np

    from flowkit.plugin.reference import Use
    from flowkit.plugin.rows import Rows

PartName = Literal["train", "val", "test"]
"""The parts of a dataset."""

PARTS: tuple[PartName, ...] = get_args(PartName)
"""All parts, in the order in which they are loaded."""

FRACTIONS = (0.8, 0.1, 0.1)
"""The shares of the training, validation and test part of a file, unless the spec sets others."""


@dataclass(frozen=True)
class Arrays:
    """One part of a dataset: events, and what belongs to each of them.

    ``x`` and ``context`` are numpy arrays, or ``Rows`` of a memory-mapped array that may be larger than the memory.

    Attributes:
        x: The events, [n, *event]: integers for data with levels, floats otherwise.
        context: The contexts [n, *context], or labels [n]. None without a context.
        columns: The names of the values of an event [d], for messages.
        rows: The rows [n] of the events among those that were given, such as in a file, for messages.
        weights: How much each event counts, [n]. Without weights all count alike.
        classes: The names of the labels 0, 1, … Without names, messages call labels by their numbers.
    """

    x: np.ndarray | Rows
    context: np.ndarray | Rows | None = None
    columns: tuple[str, ...] = ()
    rows: np.ndarray | Rows | None = None
    weights: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> Arrays:
        """Return some of the events. Their values are read when they are indexed.

        Args:
            rows: Indices among these events.
        """
        from flowkit.plugin.rows import Rows

        def taken(values: np.ndarray | Rows) -> Rows:
            return values.take(rows) if isinstance(values, Rows) else Rows(values, rows)

        return replace(
            self,
            x=taken(self.x),
            context=None if self.context is None else taken(self.context),
            rows=rows if self.rows is None else taken(self.rows),
            weights=None if self.weights is None else self.weights[rows],
        )


class Dataset(ABC):
    """A source of data with a fixed division into training, validation and test parts.

    Examples:
        >>> import numpy as np
        >>> from flowkit.plugin import Arrays, Dataset
        >>> class Noise(Dataset):
        ...     def load(self, part):
        ...         seed = {"train": 0, "val": 1, "test": 2}[part]
        ...         return Arrays(np.random.RandomState(seed).randn(100, 2).astype(np.float32))
        >>> Noise().load("train").x.shape
        (100, 2)
    """

    @abstractmethod
    def load(self, part: PartName) -> Arrays:
        """Return one part of the data, with labels as ``context`` if there are any.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            DataError: If the data can't be read.
        """


MASKED = "its arrays have masks, which nothing reads: leave the rows out that lack values, or fill these in"


def load_parts(use: Use, parts: Sequence[PartName] = PARTS) -> Iterator[tuple[PartName, Arrays]]:
    """Yield parts of the dataset that a spec names. Raise PluginError if the dataset is broken, and DataError."""
    dataset: Dataset = use.build()
    for part in parts:
        with guarded(f"plugin {use.plugin} can't load its {part} part", FlowkitError):
            arrays = dataset.load(part)
        _check(arrays, use)
        yield part, arrays


def _check(arrays: Arrays, use: Use) -> None:
    import numpy as np

    from flowkit.plugin.rows import Rows

    if not (isinstance(arrays, Arrays) and isinstance(arrays.x, np.ndarray | Rows)):
        raise PluginError(f"plugin {use.plugin}: load must return flowkit.plugin.Arrays of numpy arrays or Rows")
    if any(isinstance(each, np.ma.MaskedArray) for each in (arrays.x, arrays.context, arrays.weights)):
        raise PluginError(f"plugin {use.plugin}: {MASKED}")
