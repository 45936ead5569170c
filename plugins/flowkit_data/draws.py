"""Defines the dataset ``data/draws``: parameters of a normal distribution, and draws from it."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName

PRIOR = {"shape": 10.0, "scale": 10.0, "precision": 1.0}
"""The prior: 1/σ² is gamma with this shape and rate ``scale``; μ, given σ, is normal with variance σ²/``precision``."""


class Draws(Dataset):
    """Parameters (μ, σ), float32 [n, 2], and ``size`` draws from N(μ, σ²), float32 [n, size, 1], as contexts.

    σ² is inverse gamma with shape and scale 10, and μ is N(0, σ²). For this prior the posterior p(μ, σ | draws) has a
    formula, with which a flow can be compared. There are n sets for training, and a tenth as many each for validation
    and test.

    Args:
        n: The number of sets for training.
        size: The number of draws in each set.

    References:
        Gelman et al. 2013, "Bayesian Data Analysis", §3.3.
    """

    def __init__(self, n: int, size: int):
        self.n, self.size = n, size

    def load(self, part: PartName) -> Arrays:
        # RandomState's streams never change, so every release of numpy gives the same data
        random = np.random.RandomState({"train": 0, "val": 1, "test": 2}[part])
        n = self.n if part == "train" else self.n // 10
        sigma = (random.standard_gamma(PRIOR["shape"], n) / PRIOR["scale"]) ** -0.5
        mu = sigma / PRIOR["precision"] ** 0.5 * random.standard_normal(n)
        draws = mu[:, None] + sigma[:, None] * random.standard_normal((n, self.size))
        return Arrays(np.stack([mu, sigma], 1).astype(np.float32), draws[..., None].astype(np.float32))
