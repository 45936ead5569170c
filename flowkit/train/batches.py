"""Batches of arrays in memory: whole slices, no collation, an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from flowkit.plugin import Arrays

Batch = tuple[Tensor, Tensor | None]
"""Events [batch, *event] as the dataset has them, contexts or None."""


def take(arrays: Arrays, rows: np.ndarray | slice) -> Batch:
    """Return some rows as tensors."""
    context = None if arrays.context is None else torch.tensor(arrays.context[rows])
    return torch.tensor(arrays.x[rows]), context


def count_batches(arrays: Arrays, batch_size: int) -> int:
    """Return the number of batches of an epoch: the last incomplete one is left out, unless it is the only one."""
    return max(1, len(arrays.x) // batch_size)


def shuffled(arrays: Arrays, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield the batches of epoch 0, 1, …, each epoch in another order."""
    order = np.random.default_rng([seed, epoch]).permutation(len(arrays.x))
    for batch in range(count_batches(arrays, batch_size)):
        yield take(arrays, order[batch * batch_size : (batch + 1) * batch_size])


def in_order(arrays: Arrays, batch_size: int) -> Iterator[Batch]:
    """Yield all rows as they come, the last batch as large as it happens to be."""
    for start in range(0, len(arrays.x), batch_size):
        yield take(arrays, slice(start, start + batch_size))
