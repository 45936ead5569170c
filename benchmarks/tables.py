"""Test log-likelihoods of flows that were trained on tables, beside those of Gaussian mixtures.

    python -m benchmarks.tables runs/flights runs/galaxies

The mixture has ten components with full covariances, and is fitted to the same training rows: events after
dequantization, and contexts as the flow reads them, classes one-hot. For a conditional flow it is fitted to both, and
conditioned: log p(x | c) = log p(x, c) - log p(c).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from flowkit.plugin import Arrays
from flowkit.spec.run import read_run
from flowkit.train import load_run_data, read_results

COMPONENTS = 10
MOST_ROWS = 100_000
"""The most training rows that the mixture is fitted to. More change its figure by less than 0.01 nats."""


def mixture_score(train: Arrays, test: Arrays, seed: int = 0) -> float:
    """Return the mean of -log p(x | context) over the test rows, in nats, in the units of the events."""
    rows, held_out = _joined(train), _joined(test)
    center, scale = rows.mean(0), rows.std(0)
    scale[scale == 0] = 1.0
    rows, held_out = ((each - center) / scale for each in (rows, held_out))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]
    mixture = GaussianMixture(COMPONENTS, random_state=seed, max_iter=200).fit(rows[chosen])
    width = train.x.shape[1]
    score = -_log_prob(mixture, held_out, slice(None)) + np.log(scale[:width]).sum()
    if train.context is not None:
        score += _log_prob(mixture, held_out, slice(width, None))
    return float(score.mean())


def _joined(part: Arrays) -> np.ndarray:
    return np.concatenate([part.x[:], _context(part)], axis=1).astype(np.float64)


def _context(part: Arrays) -> np.ndarray:
    """Return the contexts as the flow reads them, [n, c]. Labels become one-hot."""
    if part.context is None:
        return np.empty((len(part.x), 0))
    values = part.context[:]
    return values if values.ndim == 2 else np.eye(len(part.classes))[values]


def _log_prob(mixture: GaussianMixture, rows: np.ndarray, columns: slice) -> np.ndarray:
    """Return the log-density of some columns under the mixture, [n]."""
    terms = [
        np.log(weight)
        + multivariate_normal(mean[columns], covariance[columns, columns], allow_singular=True).logpdf(rows[:, columns])
        for weight, mean, covariance in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
    ]
    return logsumexp(terms, axis=0)


def main(runs: Annotated[list[Path], typer.Argument(help="Finished runs of specs with data/table.")]) -> None:
    """Compare flows with mixtures of ten Gaussians on the test part of their tables, in nats. Lower is better.

    For example: python -m benchmarks.tables runs/flights runs/galaxies
    """
    print("| table | event | context | test rows | flow | mixture |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for run in runs:
        data = load_run_data(run, read_run(run))
        sizes = [data["test"].x.shape[1], _context(data["test"]).shape[1], len(data["test"].x)]
        scores = [read_results(run).test, mixture_score(data["train"], data["test"])]
        print("| " + " | ".join([run.name, *map(str, sizes), *(f"{score:.3f}" for score in scores)]) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
