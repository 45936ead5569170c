"""The order of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flowkit.plugin import Arrays
from flowkit.train.batches import count_batches, shares, shuffled, take

ARRAYS = Arrays(np.arange(50.0)[:, None], np.arange(50))


def epoch(number: int, seed: int = 0) -> list[list[int]]:
    return [context.tolist() for _, context, _ in shuffled(ARRAYS, 16, seed, number)]


def test_whole_batches_of_distinct_rows_each_with_its_context() -> None:
    batches = list(shuffled(ARRAYS, 16, 0, 0))
    assert [tuple(x.shape) for x, _, _ in batches] == [(16, 1)] * 3  # the last two rows are left out
    assert all((x[:, 0] == context).all() for x, context, _ in batches)
    assert len({row for _, context, _ in batches for row in context.tolist()}) == 48


@pytest.mark.parametrize(("batch_size", "sizes"), [(50, [50]), (64, [50]), (26, [26]), (25, [25, 25])])
def test_the_last_incomplete_batch_stays_only_if_there_is_no_other(batch_size: int, sizes: list[int]) -> None:
    assert [len(x) for x, _, _ in shuffled(ARRAYS, batch_size, 0, 0)] == sizes
    assert count_batches(ARRAYS, batch_size) == len(sizes)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert epoch(1) == epoch(1)
    assert len({str(order) for order in (epoch(0), epoch(1), epoch(0, seed=1))}) == 3


def test_reading_batches_leaves_the_global_random_stream_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(shuffled(ARRAYS, 16, 0, 0))
    assert torch.rand(1) == expected


def test_shares_hold_every_row_once() -> None:
    assert shares(50, 4) == [slice(0, 12), slice(12, 25), slice(25, 37), slice(37, 50)]
    assert shares(1, 2) == [slice(0, 0), slice(0, 1)]


def test_without_context() -> None:
    assert take(Arrays(ARRAYS.x), slice(0, 16))[1] is None
