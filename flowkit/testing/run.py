"""Runs checks one by one, or all at once."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from flowkit.bijectors import Bijector
from flowkit.errors import FlowkitError, InputError
from flowkit.plugin import Shape
from flowkit.plugin.failure import in_a_line
from flowkit.testing.catalog import select
from flowkit.testing.effects import settings_restored
from flowkit.testing.subjects import BijectorSubject, Check, NotApplicable, Subject
from flowkit.testing.time_limit import TimeLimit

Outcome = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]

OURS = (str(Path(__file__).parent), str(Path(torch.__file__).parent))


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes:
        check: The id of the check.
        outcome: ``"passed"``, ``"failed"``, ``"skipped"``, ``"expected failure"`` or ``"unexpected pass"``.
        seconds: The time that the check took.
        reason: The reason of the outcome. It is empty if the check just passed.
    """

    check: str
    outcome: Outcome
    seconds: float
    reason: str = ""

    @property
    def is_error(self) -> bool:
        return self.outcome in ("failed", "unexpected pass")


def run(
    subject: Subject,
    slow: bool = False,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    timeout: float | None = None,
) -> Iterator[Result]:
    """Yield the result of each check when it is done.

    Args:
        subject: The subject to check.
        slow: Include the checks that take seconds.
        only: Ids of checks. It is empty for all.
        skip: Ids of checks to leave out.
        timeout: The seconds that each check may take, or None for any.

    Raises:
        InputError: If no check has one of the ids, or there can be no time limit (see ``TimeLimit``).

    Examples:
        >>> from flowkit.testing import BijectorSubject, run
        >>> from flowkit_glow.actnorm import ActNorm
        >>> subject = BijectorSubject(lambda: ActNorm((2,)))
        >>> [(result.check, result.outcome) for result in run(subject, only=["log_det", "round_trip"])]
        [('round_trip', 'passed'), ('log_det', 'passed')]
    """
    for name in select(subject, slow, only, skip):
        yield run_check(subject, name, timeout)


def run_check(subject: Subject, name: str, timeout: float | None = None) -> Result:
    """Run one check.

    Args:
        subject: The subject to check.
        name: The id of the check.
        timeout: The seconds after which it has failed, or None for any time.

    Returns:
        The outcome. Whatever the subject raises is a failure, and doesn't leave this function.

    Raises:
        InputError: If Python runs without assertions, of which the checks are made.
    """
    if not __debug__:
        raise InputError("the checks are made of assertions: run Python without -O and PYTHONOPTIMIZE")
    check, limit = select(subject, slow=True)[name], TimeLimit(timeout)
    start = time.perf_counter()
    outcome, reason = _attempt(check, subject, limit)
    seconds = time.perf_counter() - start
    if (expected := subject.expected_failures.get(name)) is None or outcome == "skipped":
        return Result(name, outcome, seconds, reason)
    if outcome == "failed":
        return Result(name, "expected failure", seconds, expected)
    return Result(name, "unexpected pass", seconds, f"passes, although it is expected to fail: {expected}")


def _attempt(check: Check, subject: Subject, limit: TimeLimit) -> tuple[Outcome, str]:
    """Return the outcome of the check, and the reason unless it passes."""
    try:
        with settings_restored(), limit:
            check(subject)
    except NotApplicable as nothing:
        return "skipped", str(nothing)
    except BaseException as error:  # whatever a plugin raises is a finding, and must not hide the others
        if limit.error is None and not isinstance(error, Exception | SystemExit):
            raise
        if limit.error is None:
            return "failed", explain(error)
    if limit.error is not None:  # also where it was caught, and the check went on
        place = _place(limit.error)
        return "failed", f"stopped after {limit.seconds:g} s{place}: is it stuck, or does it need a longer time limit?"
    return "passed", ""


def explain(error: BaseException) -> str:
    """Return what a check found. For an error that the plugin raised itself, add the line that raised it."""
    if isinstance(error, AssertionError) and str(error):
        return f"{error}{'' if error.__cause__ is None else _place(error.__cause__)}"
    if isinstance(error, FlowkitError):
        return f"{type(error).__name__}: {error}"
    return f"{in_a_line(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if not f.filename.startswith(OURS)), frames[-1])
    return f" ({frame.filename}:{frame.lineno}, in {frame.name})"


def check(
    subject: Subject,
    slow: bool = False,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    timeout: float | None = None,
) -> None:
    """Run the checks as `run` does, and raise an error that lists all failures.

    Args:
        subject: The subject to check.
        slow: Include the checks that take seconds.
        only: Ids of checks. It is empty for all.
        skip: Ids of checks to leave out.
        timeout: The seconds that each check may take, or None for any.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    results = run(subject, slow, only, skip, timeout)
    failures = [f"{result.check}: {result.reason}" for result in results if result.is_error]
    assert not failures, "\n".join(failures)


def check_bijector(
    make: Callable[[], Bijector], context_shape: Shape | None = None, slow: bool = False, **options: Any
) -> None:
    """Check a bijector. This is ``check(BijectorSubject(make, context_shape, **options), slow)``.

    Args:
        make: A function that builds a new one at each call.
        context_shape: The shape of the context that it is given, or None without one.
        slow: Include the checks that take seconds.
        **options: The other attributes of ``BijectorSubject``, such as ``domain``, ``directions`` and
            ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(BijectorSubject(make, context_shape, **options), slow)
