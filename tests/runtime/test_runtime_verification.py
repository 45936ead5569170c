"""The units of the figures that an export is judged by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowkit_runtime.verification import QUANTITIES, ROUNDINGS, Figure, _batches, _judge, compare

NAMES = ["z_1", "z_2"]


def rows(error: float, count: int = 3) -> dict[str, np.ndarray]:
    """Reference rows of the first group, or with an error what graphs make of them."""
    arrays = {name: np.full((count, 2, 4), 100.0 + error) for name in [*NAMES, "x", "decoded", "round_trip"]}
    return {**arrays, "log_prob": np.full(count, 100.0 + error), "group": np.zeros(count), "judged": np.ones(count)}


@pytest.mark.parametrize(
    ("levels", "log_prob", "data"),
    [(None, 0.5, 0.5), (256, 0.5 / (8 * math.log(2)), 0.5 / 256)],
    ids=["nats and data units", "bits/dim and shares of the range"],
)
def test_errors_and_limits_have_the_unit_of_the_data(levels: int | None, log_prob: float, data: float) -> None:
    expected = {"latents": 0.5, "log_prob": log_prob, "decoded": data, "round_trip": data}
    assert compare(NAMES, levels, rows(0), rows(0.5)) == {"held-out": pytest.approx(expected)}
    own = {"held-out": dict.fromkeys(QUANTITIES, 0.0)}
    figures: list[Figure] = list(_judge(NAMES, levels, rows(0), [rows(0.5)], own))
    assert {figure.quantity: figure.limit / (200 * ROUNDINGS) for figure in figures} == pytest.approx(expected)


def test_the_sizes_of_batches_take_turns_and_every_row_is_in_one() -> None:
    batches = [range(13)[batch] for batch in _batches(13, (1, 2, 7))]
    assert [len(batch) for batch in batches] == [1, 2, 7, 1, 2]
    assert [row for batch in batches for row in batch] == list(range(13))
