"""Compares samples with a density: how many lie in each cell of a grid, and how many should."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flowkit.domains import Domains, by_coordinate

CELLS = {1: 64, 2: 8}
"""Cells along each axis, by the number of values in an event."""
NODES = (48, 32)
"""Points of the Gauss-Legendre rule along each axis of a cell: the finer rule is used, the other tells its error."""
DEVIATIONS = 6.0
"""The most standard deviations by which a count may be off. One cell in 5·10⁸ is farther off by chance."""


def compare_with_density(z: Tensor, log_prob: Callable[[Tensor], Tensor], support: Domains) -> None:
    """Raise AssertionError unless samples z [n, d] have the density, d = 1 or 2. ``log_prob`` takes points [m, d].

    A cell may hold as many samples more or less as chance and the error of the quadrature explain.
    """
    n, d = z.shape
    assert z.isfinite().all(), "from_noise gives a value that is not finite"
    edges = [_edges(column, ends, CELLS[d]) for column, ends in zip(z.T, ends_of(support, d), strict=True)]
    counts = np.histogramdd(z.atan().numpy(), [edge.numpy() for edge in edges])[0]
    share = torch.from_numpy(counts) / n
    fine, coarse = (_masses(edges, log_prob, nodes) for nodes in NODES)
    chance = DEVIATIONS * (fine.clamp(0, 1) * (1 - fine.clamp(0, 1)) / n).sqrt() + DEVIATIONS**2 / n
    excess = (share - fine).abs() - chance - 2 * (fine - coarse).abs()
    worst = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
    if excess[worst] > 0:
        cell = " × ".join(
            f"[{edge[i].tan():.3g}, {edge[i + 1].tan():.3g}]" for edge, i in zip(edges, worst, strict=True)
        )
        raise AssertionError(
            f"{share[worst]:.3%} of the samples lie in {cell}, and log_prob gives it {fine[worst]:.3%}: do from_noise "
            "and log_prob use the same parameters, and is log_prob normalized?"
        )


def ends_of(support: Domains, d: int) -> list[tuple[float, float]]:
    """Return the ends of each coordinate's domain."""
    domains = by_coordinate(support)
    return [(each.low, each.high) for each in (domains * d if len(domains) == 1 else domains)]


def _edges(values: Tensor, ends: tuple[float, float], cells: int) -> Tensor:
    """Return the edges of the cells as angles atan(z): quantiles of the samples, and the ends of the support."""
    inner = torch.linspace(0, 1, cells + 1, dtype=torch.float64)[1:-1]
    low, high = (math.atan(end) for end in ends)
    return torch.cat([torch.tensor([low]), values.double().quantile(inner).atan(), torch.tensor([high])])


def _masses(edges: list[Tensor], log_prob: Callable[[Tensor], Tensor], nodes: int) -> Tensor:
    """Return the integral of the density over each cell. On angles θ = atan(z) the whole line is bounded."""
    x, w = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(nodes))
    angles, weights = [], []
    for edge in edges:
        half = (edge[1:] - edge[:-1])[:, None] / 2
        angle = (edge[:-1][:, None] + half * (1 + x)).flatten()
        angles.append(angle)
        weights.append((half * w).flatten() / angle.cos().square())
    points = torch.stack(torch.meshgrid(*(angle.tan() for angle in angles), indexing="ij"), -1).reshape(-1, len(edges))
    weight = torch.stack(torch.meshgrid(*weights, indexing="ij"), -1).prod(-1)
    mass = log_prob(points).exp().reshape(weight.shape) * weight
    for axis in range(len(edges)):
        mass = mass.unflatten(axis, (-1, nodes)).sum(axis + 1)
    return mass
