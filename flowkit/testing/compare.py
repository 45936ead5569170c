"""Holds tolerances, and comparisons that say by how much two things differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from flowkit.domains import Domains, by_coordinate

LOG_DET_TOLERANCE = 1e-9
"""Relative (absolute below 1), of a log-det against autodiff, fp64."""
ROUND_TRIP_TOLERANCE = 1e-10
"""Absolute, fp64."""
ENDS = 1e2, 1e6
"""Distances between which a map of the reals to the reals moves on, as far as it may be."""
STUCK = 0.1
"""The least distance by which the slowest maps to the reals move between two distances that are far apart."""
MERGE_TOLERANCE = 1e-12
"""Relative to the largest value, of a layer against the affine map that it says it is, fp64."""


def equal_shapes(name: str, given: Sequence[int], expected: Sequence[int]) -> None:
    assert tuple(given) == tuple(expected), f"{name} has shape {list(given)}, not {list(expected)}"


def close(name: str, given: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise AssertionError unless the values are within an absolute tolerance. NaN is close to nothing."""
    equal_shapes(name, given.shape, expected.shape)
    if given.numel():
        error = (given - expected).abs().max().item()
        assert error <= tolerance, f"{name}: off by {error:.3g}, more than {tolerance:.3g}"


@contextmanager
def asking(question: str, unless: Callable[[], object]) -> Iterator[None]:
    """Add a question to the message of an AssertionError, unless the usual case, which is run then, fails as well."""
    try:
        yield
    except AssertionError as error:
        try:
            unless()
        except AssertionError:
            raise error from None
        raise AssertionError(f"{error}: {question}") from None


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Turn an error of torch's into an AssertionError that says what fails."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        raise AssertionError(f"{what} ({type(error).__name__}: {error})") from error


def all_close(what: str, given: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Compare tensors that have the same names. ``what`` says what was given."""
    for name, value in given.items():
        close(f"{name} {what}", value, expected[name], tolerance)


def all_near(what: str, given: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Compare as `all_close` does, with a tolerance relative to 1 plus the largest expected value of each tensor."""
    for name, value in given.items():
        close(f"{name} {what}", value.double(), expected[name].double(), tolerance * (1 + largest(expected[name])))


def moderate(value: Tensor) -> Tensor:
    """Return which rows of ``value`` [rows, *event] can be squared without an overflow in fp64, as bools [rows]."""
    return (value.abs() < 1e150).flatten(1).all(1)


def largest(value: Tensor) -> float:
    """Return the largest absolute value, 0 if there is none."""
    return value.abs().max().item() if value.numel() else 0.0


def as_by_autodiff(
    what: str,
    given: Tensor,
    expected: Tensor,
    advice: Callable[[], str],
    tolerance: float = LOG_DET_TOLERANCE,
    at: Tensor | None = None,
) -> None:
    """Compare log-dets or log-densities [rows] with those by autodiff, each relative to its value.

    ``advice`` is added to the message, and the row's value in ``at`` if that is given.
    """
    error = (given - expected).abs() / expected.abs().clamp(min=1)
    worst = int(error.nan_to_num(math.inf).argmax())
    where = "" if at is None else f" at {at[worst]:.12g}"
    assert error[worst] <= tolerance, (
        f"{what}{where} is {given[worst]:.12g}; the Jacobian by autodiff has {expected[worst]:.12g}{advice()}"
    )


def within(name: str, values: Tensor, domains: Domains) -> None:
    """Raise AssertionError unless the values [rows, *event] are in the domain."""
    for index, domain in enumerate(by_coordinate(domains)):
        own = values[:, index] if isinstance(domains, tuple) else values
        outside = own[~((own >= domain.low) & (own <= domain.high))]
        assert not outside.numel(), f"{name} gives {outside[0]:.6g}, which is outside of {domain}"


def unbounded(name: str, near: Tensor, far: Tensor) -> None:
    """Raise AssertionError if finite values [rows, *event] have hardly moved from near to far."""
    stuck = (far - near).flatten(1).norm(dim=1) < STUCK
    assert not stuck.any(), (
        f"{name} stays at {near[stuck][0].flatten()[0]:.6g} however far its argument goes: it doesn't reach all "
        "numbers, and the density doesn't integrate to 1. Say in the config what it reaches: see domain and codomain"
    )


def jacobian(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Return ∂ function / ∂ at, [outputs, inputs].

    It is not computed by torch.func, which refuses many a plugin's autograd.Function.
    """
    return torch.autograd.functional.jacobian(function, at).reshape(-1, at.numel())


def gradients_of(loss: Tensor, wanted: Mapping[str, Tensor], retain_graph: bool = False) -> dict[str, Tensor]:
    """Return the gradients of the loss, 0 for what it doesn't depend on."""
    tie = sum(value.sum() for value in wanted.values()) * 0  # the loss may be constant, and have no gradient at all
    gradients = torch.autograd.grad(
        loss + tie, list(wanted.values()), retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(wanted, gradients, strict=True))
