"""Run a graph on a GPU: batches of few sizes, with their tensors bound to it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feed = dict[str, NDArray[Any]]


def padded(feed: Feed) -> Feed:
    """The rows and, up to the next power of two, the last of them again.

    cuDNN tries all algorithms of each convolution when the size of a batch is new, which takes longer than the batch.
    """
    rows = len(next(iter(feed.values())))
    missing = (1 << (rows - 1).bit_length()) - rows
    if missing == 0:
        return feed
    return {name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for name, array in feed.items()}


def run_bound(session: Any, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
    """The named outputs; inputs are on the device before the graph starts, and what isn't named never leaves it."""
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for name in names:
        binding.bind_output(name)  # on the CPU
    session.run_with_iobinding(binding)
    results: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
    return results
