"""The figure of a flow on data: mean bits/dim for integer data, mean nats for continuous."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flowkit.errors import DataError
from flowkit.flow import Flow
from flowkit.flow.inputs import without_score
from flowkit.plugin import Arrays
from flowkit.train.batches import in_order


def best_device() -> torch.device:
    """The accelerator, where there is one; otherwise the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@torch.no_grad()
def evaluate(flow: Flow, data: Arrays, batch_size: int, draws: int = 1, part: str = "data") -> float:
    """The mean score of the events, in ``flow.unit``; lower is better.

    Integer data is dequantized with ``draws`` draws of noise that depend on nothing but an event's row and
    ``batch_size``, so that the figures of two epochs, or of two flows, can be compared. Raises DataError if a score
    isn't finite, which names the event and ``part``, that of the data which these are.
    """
    scores, figure = [], flow.nll if flow.levels is None else flow.bits_per_dim
    with _evaluating(flow):
        for batch, (x, context) in enumerate(in_order(data, batch_size)):
            context = None if context is None else context.to(flow.device)
            scores.append(figure(x.to(flow.device), context, draws=draws, seed=batch).cpu().double())
    all_scores = torch.cat(scores)
    if lost := without_score(all_scores.numpy(), data.x):
        raise DataError(f"{part}: {lost}")
    return all_scores.mean().item()


@contextmanager
def _evaluating(flow: Flow) -> Iterator[None]:
    """The flow in evaluation mode; in the end each module has the mode again that it had."""
    modes = [(module, module.training) for module in flow.modules()]
    try:
        flow.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
