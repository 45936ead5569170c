"""Computes baseline scores, to compare a trained flow with: those of histograms and Gaussians fitted to the same data.

Data is read in chunks, several times, so memory use does not grow with its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowkit.plugin import Arrays
from flowkit.plugin.rows import CHUNK, chunks

MAX_GAUSSIAN = 4096
"""The most dimensions, of event and context together, for which a full covariance is estimated."""
MAX_COUNTS = 2**22
"""The most frequencies that are counted in one pass over the data."""
RIDGE = 1e-9
"""The ridge that is added to the correlations of the context.

It makes them invertible if entries are constant or linearly dependent.
"""


def baselines(train: Arrays, test: Arrays, levels: int | None) -> dict[str, float]:
    """Return the mean scores of ``test`` under densities fitted to ``train``.

    Integer data is scored in bits/dim, else nats. Where events have weights, frequencies, moments and means are
    weighted.

    - histogram, for integer data: the values of an event are independent. Probabilities are frequencies in training,
      with one added to each count. The context is ignored.
    - gaussian, for data without context: a Gaussian with a full covariance.
    - linear-gaussian, for data with context: a Gaussian whose mean is a linear function of the context (labels are
      one-hot), with the full covariance of the residuals.

    For integer data the Gaussian is one of x + u with u ~ U[0, 1), whose covariance is that of x plus I/12. A Gaussian
    is left out if its covariance isn't finite or is singular, for example because a feature is constant or there are
    too few rows.
    """
    figures = {} if levels is None else {"histogram": _histogram(train, test, levels)}
    features = _count_features(train, test)
    if features + math.prod(train.x.shape[1:]) <= MAX_GAUSSIAN:
        gaussian = _gaussian(train, test, features, levels)
        if gaussian is not None:
            figures["gaussian" if train.context is None else "linear-gaussian"] = gaussian
    return figures


def _histogram(train: Arrays, test: Arrays, levels: int) -> float:
    dim, width, bits = math.prod(train.x.shape[1:]), max(1, MAX_COUNTS // levels), 0.0
    for first in range(0, dim, width):
        columns = slice(first, min(first + width, dim))
        counts = np.ones((columns.stop - first) * levels)
        for cells, weights in _cells(train, columns, levels):
            repeated = None if train.weights is None else np.repeat(weights, cells.shape[1])
            counts += np.bincount(cells.ravel(), repeated, len(counts))
        surprise = math.log2(_total(train) + levels) - np.log2(counts)
        bits += sum(weights @ surprise[cells].sum(1) for cells, weights in _cells(test, columns, levels))
    return float(bits / (_total(test) * dim))


def _cells(arrays: Arrays, columns: slice, levels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the index of each value into the counts, and the weights of their events.

    The counts hold all levels of the first column, then of the next.
    """
    for start, part in chunks(arrays.x):
        values = part.reshape(len(part), -1)[:, columns].astype(np.int64)
        yield values + levels * np.arange(values.shape[1]), _weights(arrays, slice(start, start + len(part)))


def _weights(arrays: Arrays, rows: slice) -> np.ndarray:
    """Return the weights of some events. Without weights these are 1."""
    if arrays.weights is not None:
        return arrays.weights[rows]
    return np.ones(len(range(*rows.indices(len(arrays.x)))))


def _total(arrays: Arrays) -> float:
    """Return the sum of the weights, which is the number of events without them."""
    return len(arrays.x) if arrays.weights is None else float(arrays.weights.sum())


def _gaussian(train: Arrays, test: Arrays, features: int, levels: int | None) -> float | None:
    """Return -E log N(x + u; μ(c), Σ). The expectation over u has a closed form: u adds I/12 to the scatter of x."""
    regression = _regress(train, features)
    if regression is None:
        return None
    dim = math.prod(train.x.shape[1:])
    noise = (0.0 if levels is None else 1 / 12) * np.eye(dim)
    covariance = regression.scatter(train) / regression.freedom + noise
    if not _is_regular(covariance):
        return None
    scatter = regression.scatter(test) / _total(test) + noise
    log_det = np.linalg.slogdet(covariance)[1]
    nats = 0.5 * (dim * math.log(2 * math.pi) + log_det + np.trace(np.linalg.solve(covariance, scatter)))
    return float(nats if levels is None else nats / (dim * math.log(2)))


def _is_regular(covariance: np.ndarray) -> bool:
    scale = np.sqrt(covariance.diagonal())  # features may have different units
    if not (np.isfinite(covariance).all() and scale.all()):
        return False
    return bool(np.linalg.matrix_rank(covariance / np.outer(scale, scale), hermitian=True) == len(scale))


@dataclass(frozen=True)
class _Regression:
    """A least-squares regression: E[x | c] = x̄ + (c - c̄) slopes. ``mean`` is [c̄, x̄]."""

    mean: np.ndarray
    slopes: np.ndarray
    freedom: float
    """The degrees of freedom: the sum of the weights, less 1 for the mean and 1 for each independent context entry."""

    def scatter(self, arrays: Arrays) -> np.ndarray:
        """Return the weighted sum of the outer products of the residuals, [dim, dim]."""
        features, dim = self.slopes.shape
        total = np.zeros((dim, dim))
        for rows, weights in _joined(arrays, features):
            centred = rows - self.mean
            residuals = centred[:, features:] - centred[:, :features] @ self.slopes
            total += (weights[:, None] * residuals).T @ residuals
        return total


def _regress(arrays: Arrays, features: int) -> _Regression | None:
    """Fit the regression. Return None if there are too few rows, or if the moments aren't finite."""
    mean, cross = _moments(arrays, features)
    n = _total(arrays)
    variance = cross[:, :features].diagonal() / n
    if not np.isfinite(cross).all():
        return None
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    correlation = cross[:, :features] / np.outer(scale, scale) / n
    rank = np.linalg.matrix_rank(correlation, hermitian=True) if features else 0
    if (freedom := n - 1 - int(rank)) < 1:
        return None
    wanted = cross[:, features:] / scale[:, None] / n
    slopes = np.linalg.solve(correlation + RIDGE * np.eye(features), wanted) / scale[:, None]
    return _Regression(mean, slopes, freedom)


def _moments(arrays: Arrays, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean of [c, x], and the cross moments Σ w (c - c̄)ᵀ ([c, x] - mean).

    They are updated chunk by chunk (Chan, Golub, LeVeque 1983).
    """
    dim = features + math.prod(arrays.x.shape[1:])
    seen, mean, cross = 0.0, np.zeros(dim), np.zeros((features, dim))
    for rows, weights in _joined(arrays, features):
        total = float(weights.sum())
        own = weights @ rows / total
        centred, step = rows - own, own - mean
        share = total / (seen + total)
        cross += (weights[:, None] * centred[:, :features]).T @ centred
        cross += np.outer(step[:features], step) * seen * share
        mean += step * share
        seen += total
    return mean, cross


def _count_features(train: Arrays, test: Arrays) -> int:
    """Return the number of context features that a regression reads: the number of classes, or the context's size."""
    if train.context is None:
        return 0
    if train.context.ndim > 1:
        return math.prod(train.context.shape[1:])
    labels = (part for arrays in (train, test) if arrays.context is not None for _, part in chunks(arrays.context))
    return 1 + int(max(part.max() for part in labels))


def _joined(arrays: Arrays, features: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield contexts and events as float64 [rows, features + dim], and their weights, one chunk at a time."""
    step = max(1, CHUNK // (features + math.prod(arrays.x.shape[1:])))
    for start in range(0, len(arrays.x), step):
        part = slice(start, start + step)
        x = arrays.x[part]
        columns = [x.reshape(len(x), -1)]
        if arrays.context is not None:
            given = arrays.context[part]
            one_hot = given.ndim == 1
            columns.insert(0, given[:, None] == np.arange(features) if one_hot else given.reshape(len(x), -1))
        yield np.concatenate(columns, axis=1, dtype=np.float64), _weights(arrays, part)
