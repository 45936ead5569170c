"""Cuts arrays into batches, in an order that is a function of (seed, epoch).

Batches are slices and need no collation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flowkit.plugin import Arrays
from flowkit.plugin.rows import shuffled_rows


class Batch(NamedTuple):
    """Events [batch, *event] in the dataset's dtype, their contexts or None, and their weights [batch] or None."""

    x: Tensor
    context: Tensor | None
    weights: Tensor | None

    def part(self, rows: slice) -> Batch:
        """Return some of the events."""
        return Batch(self.x[rows], *(None if each is None else each[rows] for each in (self.context, self.weights)))


def take(arrays: Arrays, rows: np.ndarray | slice) -> Batch:
    """Return some rows as tensors."""
    context = None if arrays.context is None else torch.tensor(arrays.context[rows])
    weights = None if arrays.weights is None else torch.tensor(arrays.weights[rows], dtype=torch.float32)
    return Batch(torch.tensor(arrays.x[rows]), context, weights)


def arrays_of(batch: Batch) -> Arrays:
    """Return the arrays of tensors, which share their memory."""
    x, context, weights = (None if each is None else each.numpy() for each in batch)
    assert x is not None
    return Arrays(x, context, weights=weights)


def count_batches(arrays: Arrays, batch_size: int) -> int:
    """Return the number of batches in an epoch. The last incomplete batch is dropped, unless it is the only one."""
    return max(1, len(arrays.x) // batch_size)


def shuffled(arrays: Arrays, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield the batches of one epoch, which is counted from 0. Each epoch has a different order."""
    order = shuffled_rows(len(arrays.x), np.random.default_rng([seed, epoch]))
    for batch in range(count_batches(arrays, batch_size)):
        yield take(arrays, order[batch * batch_size : (batch + 1) * batch_size])


def shares(rows: int, parts: int) -> list[slice]:
    """Cut rows into consecutive parts, whose sizes differ by one at most. Parts may be empty."""
    ends = [rows * part // parts for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(ends)]
