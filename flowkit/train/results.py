"""Defines the results of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from flowkit.errors import RunError
from flowkit.plugin.descriptor import Likelihood
from flowkit.spec.run import RESULTS, first_invalid
from flowkit_runtime.bundle import LIKELIHOODS
from flowkit_runtime.files import read_json


class Results(BaseModel):
    """The content of results.json. Scores are in ``unit``; lower is better."""

    unit: Literal["nats", "bits/dim"]
    likelihood: Likelihood
    """The kind of likelihood: exact, a lower bound or an estimate."""
    test: float
    """The score of the test part, averaged over several draws of dequantization noise."""
    val: float
    """The validation score of the best epoch, whose weights are saved."""
    best_epoch: int
    epochs: int
    parameters: int
    weights: Literal["ema", "raw"]
    """`ema` if the saved weights are the moving average of the trained ones, `raw` if they are the trained ones."""
    seconds: float
    """The total time of all epochs, without interruptions."""
    classes: dict[str, float] | None = None
    """The share of each class in the training part, in the order of the labels; None without classes."""

    @property
    def printed_unit(self) -> str:
        """The unit as it is printed. It says so if scores come from a bound of the likelihood."""
        return self.unit + LIKELIHOODS[self.likelihood]


def read_results(directory: Path) -> Results:
    """Return the results of a finished run.

    Args:
        directory: The directory of the run.

    Raises:
        RunError: If the file is missing or damaged.
    """
    try:
        return Results.model_validate(read_json(directory / RESULTS))
    except (OSError, ValueError) as error:
        why = first_invalid(error) if isinstance(error, ValidationError) else error
        raise RunError(
            f"{directory / RESULTS} can't be read ({why}): remove it, and `flowkit train --resume {directory}` "
            "writes it again"
        ) from error
