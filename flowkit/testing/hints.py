"""Recognizes well-known mistakes in log-dets by their figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from flowkit.plugin import Shape

SINGLE = 2e-7
"""Relative: what fp32 rounds away from one value of an event, a few times over."""
ROUNDED = (
    "half of the digits are right: is a constant rounded to fp32, as by torch.tensor(math.log(2))? math.log(2) is not. "
    "Or is the log-det approximated apart from the map, by the steps of a solver or a truncated series?"
)

Guess = tuple[Tensor, Tensor, str]
"""Two things that are equal if this is the mistake, and how to ask for it."""


def hint(given: Tensor, expected: Tensor, event: Shape | None, module: nn.Module) -> str:
    """Return a question for the mistake that gives ``given`` instead of ``expected``, [rows] each.

    It is empty if no such mistake is known.

    Without an event they are log-derivatives of single elements: nothing is summed, and there are no rows.
    """
    if not (given.isfinite().all() and expected.isfinite().all()):
        return _not_finite(given, expected)
    rounded = SINGLE * math.prod(event or (1,))
    if ((given - expected).abs() <= rounded * expected.abs().clamp(min=1)).all():
        return f"; {ROUNDED}"
    guesses = chain(_reductions(given, expected, event), _factors(given, expected, event or (1,)))
    for one, other, question in chain(guesses, _terms(given, expected, event or (1,), module)):
        if torch.allclose(one, other, rtol=1e-8, atol=1e-9):
            return f"; {question}"
    return ""


def _not_finite(given: Tensor, expected: Tensor) -> str:
    if expected.isneginf().all():
        return (
            "; it has no gradient: is it computed under torch.no_grad()? A search for the inverse needs steps with "
            "gradients after it, as flowkit.bijectors.numeric_inverse has them"
        )
    if expected.isneginf().any():
        return "; the map is not invertible there: does something clamp, round or cut off?"
    if expected.isfinite().all() and given.isnan().any():
        return "; is it the log of a negative number: log|det| and log|s| take the absolute value?"
    return ""


def _reductions(given: Tensor, expected: Tensor, event: Shape | None) -> Iterator[Guess]:
    yield given, torch.zeros_like(given), "it is 0: did you forget the term that depends on x or the parameters?"
    if event is not None and len(given) > 1:
        advice = "reduce over the event only, flatten(1).sum(1)"
        yield given, expected.sum().expand_as(given), f"every row has the sum over the batch: {advice}"
        yield given, expected.mean().expand_as(given), f"every row has the mean over the batch: {advice}"


def _factors(given: Tensor, expected: Tensor, event: Shape) -> Iterator[Guess]:
    positions, channels, size = math.prod(event[1:]), event[0], math.prod(event)
    missing = f"h·w = {positions}"
    if positions > 1:
        yield given * positions, expected, f"short by the factor {missing}: did you forget the spatial positions?"
        yield given, expected * positions, f"too large by the factor {missing}: are the positions counted twice?"
        yield -given * positions, expected, f"the sign is wrong and the factor {missing} is missing"
    yield -given, expected, "the sign is wrong: is it the log-det of the other direction?"
    yield given * size, expected, f"short by the factor {size}, the event's size: is it a mean instead of a sum?"
    yield given * channels, expected, f"short by the factor c = {channels}: is only one channel counted?"
    yield given, expected * 2, "twice too large: is a part counted twice, or the square taken?"
    yield given * 2, expected, "half of what it should be: is a part forgotten, or the root taken?"
    yield given * math.log(10), expected, "short by the factor ln 10: is it log10 instead of log?"
    yield given * math.log(2), expected, "too large by the factor 1/ln 2: is it log2 instead of log?"
    yield given.abs().log(), expected, "it is the determinant: did you forget the log?"
    yield given, expected.abs().log(), "it is the log of the log-det: is there one log too many?"


def _terms(given: Tensor, expected: Tensor, event: Shape, module: nn.Module) -> Iterator[Guess]:
    """Yield mistakes in one term of a sum: what is missing is a multiple of the sum of some parameter."""
    positions, missing = math.prod(event[1:]), expected - given
    for name, parameter in module.named_parameters():
        total = parameter.detach().sum().expand_as(missing)
        for sign, term in ((1, f"Σ {name}"), (-1, f"-Σ {name}")):
            if positions > 1:
                forgotten = f"h·w = {positions}: did you forget the spatial positions of {name}?"
                yield missing, sign * (positions - 1) * total, f"short by (h·w - 1) times {term}, {forgotten}"
                yield missing, sign * positions * total, f"short by h·w times {term}: did you forget {name}?"
            yield missing, sign * total, f"short by {term}: did you forget {name}?"
            yield missing, 2 * sign * total, f"short by twice {term}: has {name} the wrong sign?"
