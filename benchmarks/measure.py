"""Timing of contenders side by side: shuffled rounds in one process, ratios to the limit of the same round."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

import torch

WARM_UP = 3
"""Steps before the first that counts; a compiled contender compiles in them."""

PAUSE = 0.01
"""Seconds before each step. The threads of the step before it go on waiting for work, and take a core from a library
that has threads of its own: torch, onnxruntime and jax in one process."""

Step = Callable[[], Any]


@dataclass(frozen=True)
class Spread:
    """The quartiles of a figure over the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(*(quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values))


def interleave(steps: Mapping[str, Step], rounds: int, advance: Callable[[], None]) -> dict[str, list[float]]:
    """Seconds of each step in each round. In every round the order is another: what ran before leaves its caches."""
    order, seconds = list(steps), {name: [] for name in steps}
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            seconds[name].append(timed(steps[name]))
            advance()
    return seconds


def timed(step: Step) -> float:
    """Seconds that the step takes, the accelerator's work included."""
    synchronize()
    sleep(PAUSE)
    start = perf_counter()
    step()
    synchronize()
    return perf_counter() - start


def synchronize() -> None:
    """Wait for the accelerator, if there is one at work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def ratios(seconds: Mapping[str, list[float]], to: str) -> dict[str, Spread]:
    """Each contender's time over that of ``to`` in the same round."""
    return {name: Spread.of([a / b for a, b in zip(own, seconds[to], strict=True)]) for name, own in seconds.items()}
