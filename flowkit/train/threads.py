"""The number of CPU threads that a training runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

VARIABLE = "OMP_NUM_THREADS"


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Run torch's operators on this many threads, and on as many as before at the end.

    None is what OMP_NUM_THREADS says, which torch has read, and one thread where it is not set. OpenMP's threads spin
    while they wait for each other: where other processes need the cores, steps on two threads took 9 to 24 times as
    long as on one. On two idle cores the second thread makes steps up to 1.5 times faster, and small ones not at all.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or (before if VARIABLE in os.environ else 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
