"""Runs a property on many examples, the same ones each time."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FLOWKIT_FUZZ_EXAMPLES", "300"))
"""Of the slow tests."""
FEW = 60
"""Of the fast ones."""
REPORT_EVERY = 500

T = TypeVar("T")


def fuzz(strategy: st.SearchStrategy[T], check: Callable[[T], None], examples: int) -> None:
    """``check`` on as many examples. Hypothesis shrinks one that fails. Long runs say how far they are (pytest -s)."""
    started, numbers = time.perf_counter(), itertools.count(1)

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def holds(example: T) -> None:
        check(example)
        if (number := next(numbers)) % REPORT_EVERY == 0:
            print(f"{number} examples in {time.perf_counter() - started:.0f} s", flush=True)

    holds()
