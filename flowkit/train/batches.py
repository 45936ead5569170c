"""Batches of arrays in memory: whole slices, no collation, an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from flowkit.plugin import Arrays

Batch = tuple[Tensor, Tensor | None]
"""Events [batch, *event] as the dataset has them, contexts or None."""


def take(arrays: Arrays, rows: np.ndarray | slice) -> Batch:
    """Some rows as tensors."""
    context = None if arrays.context is None else torch.tensor(arrays.context[rows])
    return torch.tensor(arrays.x[rows]), context


class Shuffled(Sampler[np.ndarray]):
    """The rows of each training batch. The last incomplete batch is left out, unless it is the only one."""

    def __init__(self, n: int, batch_size: int, seed: int):
        self.n, self.batch_size, self.seed, self.epoch = n, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(1, self.n // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n)
        for batch in range(len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size]


class _Batches(Dataset[Batch]):
    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def __getitem__(self, rows: np.ndarray) -> Batch:
        return take(self.arrays, rows)


def training_batches(arrays: Arrays, batch_size: int, seed: int) -> DataLoader[Batch]:
    """Shuffled batches, in another order each epoch."""
    sampler = Shuffled(len(arrays.x), batch_size, seed)
    generator = torch.Generator()  # what it draws for workers doesn't come out of the global stream
    return DataLoader(_Batches(arrays), sampler=sampler, batch_size=None, generator=generator)


def in_order(arrays: Arrays, batch_size: int) -> Iterator[Batch]:
    """All rows as they come, the last batch as large as it happens to be."""
    for start in range(0, len(arrays.x), batch_size):
        yield take(arrays, slice(start, start + batch_size))
