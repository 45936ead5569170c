"""The quantiles of scores, by a radix search, are those of sorting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowkit_runtime.streaming.summary import smallest, summarize

SCORES = {
    "normal": np.random.default_rng(0).normal(size=1001),
    "of all sizes": np.random.default_rng(1).normal(size=500)
    * 10.0 ** np.random.default_rng(2).integers(-300, 300, 500),
    "equal": np.full(100, 1.5),
    "two values": np.repeat([-1.0, 2.0], 50),
    "one": np.array([-0.25]),
    "zeros of both signs": np.array([0.0, -0.0, 1.0, -1.0]),
    "infinite": np.array([math.inf, -math.inf, 3.0, 5e-324, -5e-324]),
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_ranks_are_those_of_sorting(scores):
    ranks = sorted({0, len(scores) // 3, len(scores) // 2, len(scores) - 1})
    assert smallest(lambda: iter(np.array_split(scores, 3)), ranks) == [np.sort(scores)[rank] for rank in ranks]


@pytest.mark.parametrize("nan", [math.nan, -math.nan])
def test_nan_is_above_all(nan):
    scores = np.array([2.0, nan, 1.0, math.inf])
    assert smallest(lambda: iter([scores]), [0, 1, 2]) == [1.0, 2.0, math.inf]
    assert math.isnan(smallest(lambda: iter([scores]), [3])[0])


def test_a_summary():
    scores = SCORES["normal"]
    found = summarize(lambda: iter(np.array_split(scores, 7)), 0.5)
    ordered = np.sort(scores)
    assert (found.n, found.above) == (1001, (scores > 0.5).sum())
    assert (found.low, found.median, found.high) == (ordered[50], np.median(scores), ordered[950])
    assert found.mean == pytest.approx(scores.mean())


def test_a_summary_of_nothing():
    found = summarize(lambda: iter([]), None)
    assert (found.n, found.above) == (0, None) and math.isnan(found.median)
