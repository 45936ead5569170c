"""Computes the score of a flow on data: mean bits/dim for integer data, mean nats for continuous data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from flowkit.errors import DataError
from flowkit.flow import Flow
from flowkit.flow.inputs import without_score
from flowkit.plugin import Arrays
from flowkit.train.batches import take
from flowkit_runtime.inputs import row_slices

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def best_device() -> torch.device:
    """Return the accelerator if there is one, otherwise the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@torch.no_grad()
def evaluate(
    flow: Flow,
    data: Arrays,
    batch_size: int,
    draws: int = 1,
    part: str = "data",
    fabric: Fabric | None = None,
    accumulate: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> float:
    """Return the mean score of the events, in ``flow.unit``, weighted if they have weights. Lower is better.

    The noise depends only on an event's row and on ``batch_size``, so that the scores of two epochs, or of two flows,
    can be compared.

    Args:
        flow: The flow.
        data: The events, with contexts and weights if there are any.
        batch_size: The number of events of a batch, on which the noise depends.
        draws: The number of draws of dequantization noise for integer data.
        part: The name of the data in messages.
        fabric: A Fabric that connects several processes: each scores some of the events, and all return the same.
        accumulate: The number of parts that each process divides its share of a batch into, for less memory.
        progress: A function that is called with the number of events that are done.

    Raises:
        DataError: If a score isn't finite. The message names the event.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    scores = torch.zeros(len(data.x), dtype=torch.float64)
    figure = flow.nll if flow.levels is None else flow.bits_per_dim
    with _evaluating(flow):
        parts = _parts(len(data.x), batch_size, math.ceil(batch_size / (world * accumulate)))
        for number in range(rank, world * math.ceil(len(parts) / world), world):
            # Weights that are divided are gathered by all processes together, so all score as many parts.
            batch, start, rows = parts[min(number, len(parts) - 1)]
            x, context, _ = take(data, rows)
            context = None if context is None else context.to(flow.device)
            found = figure(x.to(flow.device), context, draws=draws, seed=batch, start=start).cpu().double()
            if number < len(parts):
                scores[rows] = found
                progress(rows.stop)
    if fabric and world > 1:
        from flowkit.train.devices import summed  # it imports Fabric, which scores alone don't need

        scores = summed(fabric, scores)
    if lost := without_score(scores.numpy(), data.x):
        raise DataError(f"{part}: {lost}")
    return scores.mean().item() if data.weights is None else float(np.average(scores, weights=data.weights))


def _parts(events: int, batch_size: int, size: int) -> list[tuple[int, int, slice]]:
    """Cut batches into parts of a size. Return the batch of each part, its first row in the batch, and its rows."""
    return [
        (number, part.start, slice(batch.start + part.start, batch.start + part.stop))
        for number, batch in enumerate(row_slices(events, batch_size))
        for part in row_slices(batch.stop - batch.start, size)
    ]


@contextmanager
def _evaluating(flow: Flow) -> Iterator[None]:
    """Put the flow in evaluation mode inside the block. Afterwards each module has its previous mode again."""
    modes = [(module, module.training) for module in flow.modules()]
    try:
        flow.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
