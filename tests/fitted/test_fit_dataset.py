"""flowkit.fit takes datasets of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from flowkit.errors import InputError
from flowkit.fitted.arrays import as_arrays

X = torch.arange(12.0).reshape(6, 2)
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


class Listed(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(X)


@pytest.mark.parametrize(
    "dataset", [TensorDataset(X), Listed(list(X.numpy())), Streamed()], ids=lambda dataset: type(dataset).__name__
)
def test_items_are_events(dataset: Any) -> None:
    arrays = as_arrays(dataset)
    assert np.array_equal(arrays.x, X) and arrays.context is None


def test_items_are_pairs() -> None:
    for dataset in (TensorDataset(X, LABELS), Listed(list(zip(X, LABELS.tolist(), strict=True)))):
        arrays = as_arrays(dataset)
        assert np.array_equal(arrays.x, X)
        assert arrays.context is not None and np.array_equal(arrays.context, LABELS)


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a context beside it": (TensorDataset(X), LABELS, "leave out context"),
    "three of each": (TensorDataset(X, X, X), None, "must be events, or all must be pairs"),
    "none": (Listed([]), None, "must be events, or all must be pairs"),
    "two shapes": (
        Listed([X[0], X[1, :1]]),
        None,
        r"event of item 1 of the Dataset has shape .1., and that of item 0 .2.",
    ),
    "text": (Listed(["a", "b"]), None, "the event of item 0 of the Dataset must hold real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_datasets_that_are_refused(case: str) -> None:
    dataset, context, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        as_arrays(dataset, context)
