"""The bounds hold, and what tests did before in this process is no part of an attack."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.security.bounded import SECONDS, outcome


def test_an_attack_that_crashes_fails_and_the_next_runs_in_another_process() -> None:
    with pytest.raises(AssertionError, match=f"ended with -6: longer than {SECONDS} s, or crashed"):
        outcome(os.abort)
    assert outcome(abs, -1) == ("returned", "1")


def test_an_attack_that_takes_much_memory_fails() -> None:
    with pytest.raises(AssertionError, match=r"took [56]\d\d MB: returned"):
        outcome(np.ones, 2**26)


def test_the_server_that_forks_has_no_thread_for_a_fork_to_lack() -> None:
    server = int(outcome(os.getppid)[1])
    assert server != os.getpid() and len(list(Path(f"/proc/{server}/task").iterdir())) == 1
