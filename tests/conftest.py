"""One thread a process: the suite runs in several, and torch's threads, waiting for each other, would starve them."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it

from collections.abc import Iterator

import pytest
import torch

from flowkit.plugin.registry import REGISTERED

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    """What a test registers in this process is forgotten."""
    before = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(before)
