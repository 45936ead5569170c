"""Runs a property on many examples, the same ones each time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

FEW = 10
"""Examples of a test, but in `make nightly`."""
ROUND = 500

T = TypeVar("T")


def fuzz(strategy: st.SearchStrategy[T], check: Callable[[T], None], examples: int) -> None:
    """``check`` on as many examples. Hypothesis shrinks one that fails. Long runs say how far they are (pytest -s).

    In rounds, each from its own seed: hypothesis remembers all that it has tried in one, at some 200 KB an example.
    """
    started = time.perf_counter()
    for done in range(0, examples, ROUND):
        _round(strategy, check, min(ROUND, examples - done), first=done)
        gc.collect()  # Costs moves garbage to where Python rarely looks
        print(f"{min(done + ROUND, examples)} examples in {time.perf_counter() - started:.0f} s", flush=True)


def _round(strategy: st.SearchStrategy[T], check: Callable[[T], None], examples: int, first: int) -> None:
    @seed(first)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def holds(example: T) -> None:
        check(example)

    holds()
