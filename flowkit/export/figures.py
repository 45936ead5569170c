"""Measures what a bundle's graphs make of held-out events."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import flowkit_runtime
from flowkit.errors import ExportError, InputError
from flowkit.export.precision import Precision
from flowkit.flow.inputs import without_score
from flowkit_runtime.verification import GROUPS, NamedArrays, unit_of

MOST_CHANGE = 0.005
"""The most bits/dim by which 16 bits may change the mean log-density of held-out events. In fp32 the yardstick alone
judges: the log-densities of 65,536 levels that nothing rescales are some billions, of which fp32 has 7 digits."""


def check_quantile(quantile: float) -> None:
    """Raise InputError unless ``quantile`` is a number between 0 and 1."""
    if not isinstance(quantile, Real) or not 0 < quantile < 1:
        raise InputError(f"quantile must be a number above 0 and below 1, such as 0.99, got {quantile!r}")


def measured(
    model: flowkit_runtime.Model,
    answers: NamedArrays,
    x: Tensor | None,
    context: Tensor | None,
    precision: Precision,
    quantile: float,
) -> dict[str, Any]:
    """Return the figures of held-out events by the exported model, for the manifest.

    They are the change of the density by the precision, the threshold, and how many events of integer data, held out
    and off the data, come back exactly. A figure that needs a direction that the flow lacks is None.

    Raises ExportError if 16 bits change the density too much, or an event has no finite score.
    """
    if model.directions == "inverse":
        return {"change": None, "threshold": None, "restored": None}
    unit, bits = ("nats", np.log(2.0) * answers["x"][0].size) if model.levels is None else ("bits/dim", 1.0)
    change, most = _change(model, answers), MOST_CHANGE * bits
    if precision != "float32" and not change <= most:
        raise ExportError(
            f"in {precision} the log-density of held-out events is off by {change:.4f} {unit} on average, "
            f"more than {most:.4g}: choose a wider --precision"
        )
    given = None if x is None else (x.numpy(), None if context is None else context.numpy())
    threshold = None if given is None else _threshold(model.score(*given), given[0], quantile)
    restored = None if model.levels is None or model.directions != "both" else _restored(model, answers, given)
    return {"change": change, "threshold": threshold, "restored": restored}


def excluded(answers: NamedArrays) -> dict[str, dict[str, int]]:
    """Return, for each group of events, how many there are and how many are excluded from verification."""
    groups = {name: answers["judged"][answers["group"] == index] for index, name in enumerate(GROUPS)}
    return {name: {"events": len(judged), "excluded": int((judged == 0).sum())} for name, judged in groups.items()}


def _restored(
    model: flowkit_runtime.Model, answers: NamedArrays, held_out: tuple[NDArray[Any], NDArray[Any] | None] | None
) -> dict[str, dict[str, int]]:
    """Return, for each group of integer events, how many there are and how many come back exactly."""
    rows = answers["group"] == GROUPS.index("off-data")
    levels = np.floor(answers["x"][rows]).astype(np.int64)
    events = {"off-data": (levels, answers["context"][rows] if "context" in answers else None)}
    if held_out is not None:
        events["held-out"] = held_out
    return {
        group: {"events": len(x), "exact": int((model.reconstruction_error(x, context) == 0).sum())}
        for group, (x, context) in events.items()
    }


def _threshold(scores: NDArray[np.floating], events: NDArray[Any], quantile: float) -> dict[str, Any]:
    """Return the score that this share of the events stays below. Raises ExportError if a score isn't finite."""
    if lost := without_score(scores, events, "held-out events"):
        raise ExportError(f"{lost}. There is no threshold: look for outliers in the data")
    return {"quantile": float(quantile), "score": float(np.quantile(scores, quantile)), "events": len(scores)}


def _change(model: flowkit_runtime.Model, answers: NamedArrays) -> float:
    """Return the mean difference of the score from the fp64 flow: bits/dim for integer data, nats otherwise."""
    rows = answers["group"] == 0
    given = model.log_prob(answers["x"][rows], answers["context"][rows] if "context" in answers else None)
    unit = unit_of("log_prob", answers, model.levels)
    return float(abs(given.astype(np.float64) - answers["log_prob"][rows]).mean() / unit)
