"""What a density gets without a flow: the figures to compare a trained one with, by the same accounting."""

from __future__ import annotations

import math

import numpy as np

from flowkit.plugin import Arrays

MAX_GAUSSIAN = 4096
"""The most dimensions for which a full covariance is estimated."""


def baselines(train: Arrays, test: Arrays, levels: int | None) -> dict[str, float]:
    """The mean score of ``test`` under densities fitted to ``train``: bits/dim for integer data, nats otherwise.

    - histogram: each value on its own, by its frequencies in training, one added to each (integer data only);
    - gaussian: a full covariance; for integer data of x + u, u ~ U[0, 1), whose covariance is that of x plus I/12.
      Left out where it is singular, as of a feature that is always the same, or of one row, or isn't finite.
    """
    fit, held_out = (arrays.x.reshape(len(arrays.x), -1) for arrays in (train, test))
    figures = {} if levels is None else {"histogram": _histogram(fit, held_out, levels)}
    if fit.shape[1] <= MAX_GAUSSIAN and (gaussian := _gaussian(fit, held_out, levels)) is not None:
        figures["gaussian"] = gaussian
    return figures


def _histogram(fit: np.ndarray, held_out: np.ndarray, levels: int) -> float:
    bits = []
    for column, values in zip(fit.T, held_out.T, strict=True):
        counts = np.bincount(column, minlength=levels) + 1.0
        bits.append(-np.log2(counts[values] / counts.sum()).mean())
    return float(np.mean(bits))


def _gaussian(fit: np.ndarray, held_out: np.ndarray, levels: int | None) -> float | None:
    """-E log N(x + u; μ, Σ), the expectation over u in closed form: u adds I/12 to the scatter of x."""
    noise = 0.0 if levels is None else 1 / 12
    rows, dim = fit.shape
    if rows < 2:
        return None
    mean = fit.mean(0, dtype=np.float64)  # in which no square of a float32 overflows
    covariance = np.cov(fit, rowvar=False).reshape(dim, dim) + noise * np.eye(dim)
    if not np.isfinite(covariance).all():
        return None
    scale = np.sqrt(covariance.diagonal())  # features may have different units
    if not scale.all() or np.linalg.matrix_rank(covariance / np.outer(scale, scale), hermitian=True) < dim:
        return None
    centred = held_out - mean
    scatter = centred.T @ centred / len(held_out) + noise * np.eye(dim)
    log_det = np.linalg.slogdet(covariance)[1]
    nats = 0.5 * (dim * math.log(2 * math.pi) + log_det + np.trace(np.linalg.solve(covariance, scatter)))
    return float(nats if levels is None else nats / (dim * math.log(2)))
