"""The figure of a flow on data."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from flowkit.errors import InputError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.train import evaluate


@pytest.fixture
def flow() -> Flow:
    """log p(x) = -½ Σ (x_i / 4 - ½)² + const of two integers 0 … 3."""
    return Flow.from_spec(
        {"flowkit": 1, "event": {"shape": [2], "levels": 4}, "flow": [{"use": "glow/rescale"}], "context": None}
    )


def test_the_figure_is_the_mean_over_events_and_draws(flow: Flow) -> None:
    x = np.arange(10, dtype=np.uint8).reshape(5, 2) % 4
    scores = [flow.bits_per_dim(torch.tensor(x[i : i + 2]), draws=3, seed=i // 2) for i in (0, 2, 4)]
    assert evaluate(flow, Arrays(x), 2, draws=3) == pytest.approx(torch.cat(scores).mean().item(), rel=1e-6)


def test_parts_of_batches_have_the_noise_of_the_whole(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen, figure = Arrays(np.arange(22, dtype=np.uint8).reshape(11, 2) % 4), [], Flow.bits_per_dim
    whole = evaluate(flow, data, 5, 2)
    monkeypatch.setattr(
        Flow, "bits_per_dim", lambda self, x, *args, **named: seen.append(len(x)) or figure(self, x, *args, **named)
    )
    assert evaluate(flow, data, 5, 2, accumulate=2) == pytest.approx(whole, rel=1e-6)
    assert seen == [3, 2, 3, 2, 1]


def test_progress_is_the_number_of_events_that_are_done(flow: Flow) -> None:
    seen: list[int] = []
    evaluate(flow, Arrays(np.zeros((5, 2), np.uint8)), 2, progress=seen.append)
    assert seen == [2, 4, 5]


def test_batches_have_noise_of_their_own_and_always_the_same(flow: Flow) -> None:
    x = np.ones((2, 2), np.uint8)
    assert evaluate(flow, Arrays(x[:1]), 1) != evaluate(flow, Arrays(x), 1) == evaluate(flow, Arrays(x), 1)


def test_evaluation_leaves_the_mode_as_it_was(flow: Flow) -> None:
    for mode in (True, False):
        evaluate(flow.train(mode), Arrays(np.ones((2, 2), np.uint8)), 1)
        assert flow.training is mode


@pytest.mark.parametrize("fails", [False, True])
def test_each_layer_gets_the_mode_back_that_it_had_whatever_happens(flow: Flow, fails: bool) -> None:
    flow.train()
    flow.layers[0].eval()  # frozen, as for fine-tuning
    before = [module.training for module in flow.modules()]
    with pytest.raises(InputError) if fails else nullcontext():
        evaluate(flow, Arrays(np.full((2, 2), 9 if fails else 1, np.uint8)), 1)
    assert [module.training for module in flow.modules()] == before
