"""Sums over the classes of a context that isn't given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.flow import Flow


def log_joint(flow: Flow, points: Tensor, shares: Sequence[float]) -> Tensor:
    """Return ln p(c) + ln p(x | c) of continuous events for each class c, [n, classes]. The p(c) are the shares."""

    def of_class(label: int, share: float) -> Tensor:
        if not share:
            return points.new_full((len(points),), -math.inf)
        return math.log(share) + flow.log_prob(points, torch.tensor(label, device=points.device))

    return torch.stack([of_class(*each) for each in enumerate(shares)], 1)


def marginal_score(flow: Flow, x: Tensor, shares: Sequence[float], draws: int, seed: int, start: int) -> Tensor:
    """Return -ln p(x) = -ln Σ_c p(c) p(x | c) in the unit of the flow, [n], averaged over draws of noise.

    ``start`` is the number of the first row, as for ``Flow.nll``.
    """
    return flow.in_unit(_noisy(flow, x, shares, draws, seed, start).logsumexp(2)).mean(0)


def log_posterior(flow: Flow, x: Tensor, shares: Sequence[float], draws: int, seed: int, start: int) -> Tensor:
    """Return ln p(c | x) of each class c, [n, classes]. Its density is averaged over draws of noise.

    ``start`` is the number of the first row, as for ``Flow.nll``.
    """
    return _noisy(flow, x, shares, draws, seed, start).logsumexp(0).log_softmax(1)


def _noisy(flow: Flow, x: Tensor, shares: Sequence[float], draws: int, seed: int, start: int) -> Tensor:
    """Return ln p(c) + ln p(x + u_d | c) - ln q(u_d | x), [draws, n, classes]. Without levels there is one draw."""
    noisy = flow.dequantizations(x, draws, seed, start)
    return torch.stack([log_joint(flow, points, shares) - log_q[:, None] for points, log_q in noisy])
