"""Lists the checks, and runs them one by one, all at once, or as tests of pytest."""

from __future__ import annotations

import difflib
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from flowkit.bijectors import Base, Bijector, Conditioner, Encoder, MaskedConditioner, Order, Split, Transformer
from flowkit.errors import FlowkitError, InputError
from flowkit.plugin import Dataset, Shape
from flowkit.plugin.failure import in_a_line
from flowkit.testing import (
    autoregressive,
    bases,
    bijectors,
    couplings,
    datasets,
    encoders,
    plugins,
    slow,
    subjects,
    transformers,
)
from flowkit.testing.common import COMMON
from flowkit.testing.subjects import Check, NotApplicable, Subject, is_applicable
from flowkit.testing.time_limit import TimeLimit


def _by_id(*groups: Iterable[Check]) -> dict[str, Check]:
    return {check.__name__: check for group in groups for check in group}


CHECKS: Mapping[str, Mapping[str, Check]] = {
    "bijector": _by_id(COMMON, bijectors.CHECKS),
    "transformer": _by_id(COMMON, transformers.CHECKS),
    "split": _by_id(COMMON, couplings.SPLIT_CHECKS),
    "conditioner": _by_id(COMMON, couplings.CONDITIONER_CHECKS),
    "masked-conditioner": _by_id(COMMON, autoregressive.MASKED_CHECKS),
    "order": _by_id(autoregressive.ORDER_CHECKS),
    "base": _by_id(COMMON, bases.CHECKS),
    "encoder": _by_id(COMMON, encoders.CHECKS),
    "dataset": _by_id(datasets.CHECKS),
    "plugin": _by_id(plugins.CHECKS),
}
"""Each kind's checks. An id never changes its meaning, which is the first paragraph of the check's docstring."""

SLOW_CHECKS: Mapping[str, Mapping[str, Check]] = {
    kind: _by_id(slow.CHECKS) if "export" in checks else {} for kind, checks in CHECKS.items()
}
"""The checks of each kind that take seconds, and run only on request."""


def purpose(check: Check) -> str:
    """Return what a check asks for, in one line.

    Args:
        check: A check, such as one of ``CHECKS["bijector"]``.

    Examples:
        >>> from flowkit.testing import CHECKS, purpose
        >>> purpose(CHECKS["transformer"]["elementwise"])
        'Each element depends on itself and its own parameters, and on no other element.'
    """
    return " ".join((check.__doc__ or "").partition("\n\n")[0].split())


if TYPE_CHECKING:
    import pytest


Outcome = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]
ERRORS: tuple[Outcome, ...] = ("failed", "unexpected pass")
"""The outcomes that are not right."""

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
        return self.outcome in ERRORS


def checks_of(subject: Subject, slow: bool = False) -> Mapping[str, Check]:
    """Return the subject's checks by id.

    Args:
        subject: The subject to check.
        slow: Include the checks that take seconds.

    Raises:
        InputError: If the subject expects a check to fail that doesn't exist.
    """
    check_ids(*subject.expected_failures)
    return {**CHECKS[subject.kind], **(SLOW_CHECKS[subject.kind] if slow else {})}


def check_ids(*ids: str) -> None:
    """Raise InputError for an id that no check of any kind has."""
    known = {id_ for checks in (*CHECKS.values(), *SLOW_CHECKS.values()) for id_ in checks}
    for id_ in ids:
        if id_ not in known:
            near = difflib.get_close_matches(id_, known, n=2)
            advice = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(sorted(known))}"
            raise InputError(f"no check is called {id_}: {advice}")


def select(
    subject: Subject, slow: bool = False, only: Collection[str] = (), skip: Collection[str] = ()
) -> Mapping[str, Check]:
    """Return the subject's checks by id: those of ``only``, slow or not, or else all, without those of ``skip``.

    Args:
        subject: The subject to check.
        slow: Include the checks that take seconds.
        only: Ids of checks. It is empty for all.
        skip: Ids of checks to leave out.

    Raises:
        InputError: If no check of any kind has one of the ids.
    """
    check_ids(*only, *skip)
    checks = checks_of(subject, slow=slow or bool(only))
    return {id_: check for id_, check in checks.items() if id_ not in skip and (not only or id_ in only)}


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
    """
    check, limit = checks_of(subject, slow=True)[name], TimeLimit(timeout)
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
        with limit:
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
    """Check a bijector, and raise an error that lists all failures.

    Keep the event small, at most some 60 values: the Jacobian is computed in full.

    Args:
        make: A function that builds a new one at each call.
        context_shape: The shape of the context that it is given, or None without one.
        slow: Include the checks that take seconds.
        **options: ``domain`` and ``codomain``, such as ``flowkit.plugin.Interval(0, 1)``, ``directions``, such as
            "forward", and those of every subject: ``seed``, and ``expected_failures``, the ids of checks that fail for
            now, each with the reason.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.BijectorSubject(make, context_shape, **options), slow)


def check_transformer(
    make: Callable[[], Transformer], event_shape: Shape = (2, 3, 2), slow: bool = False, **options: Any
) -> None:
    """Check a transformer, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        event_shape: The shape of the events that it is checked on.
        slow: Include the checks that take seconds.
        **options: ``domain`` if it isn't the reals, ``directions`` if they aren't both, and those of every subject,
            ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.TransformerSubject(make, event_shape, **options), slow)


def check_split(
    make: Callable[[], Split], shapes: tuple[Shape, Shape] | None = None, slow: bool = False, **options: Any
) -> None:
    """Check a split, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        shapes: The shapes of its parts, as its config's ``split_shapes`` returns them.
        slow: Include the checks that take seconds.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.SplitSubject(make, shapes, **options), slow)


def check_conditioner(
    make: Callable[[], Conditioner],
    kept_shape: Shape,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a conditioner, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        kept_shape: The shape of the kept part that it is made for.
        params_shape: The shape of the parameters that it is made for, [n_params, *transformed].
        context_shape: The shape of the context that it is made for, or None without one.
        slow: Include the checks that take seconds.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.ConditionerSubject(make, kept_shape, params_shape, context_shape, **options), slow)


def check_masked_conditioner(
    make: Callable[[], MaskedConditioner],
    order: Order,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a masked conditioner, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        order: The order that it is made for. Take one that is neither that of the event nor its reverse, so that masks
            which ignore it are noticed.
        params_shape: The shape of the parameters that it is made for, [n_params, *event].
        context_shape: The shape of the context that it is made for, or None without one.
        slow: Include the checks that take seconds.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.MaskedConditionerSubject(make, order, params_shape, context_shape, **options), slow)


def check_order(make: Callable[[], Order], **options: Any) -> None:
    """Check an order, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.OrderSubject(make, **options))


def check_base(make: Callable[[], Base], slow: bool = False, **options: Any) -> None:
    """Check a base distribution, and raise an error that lists all failures.

    With events of one or two values the integral of its density is computed too.

    Args:
        make: A function that builds a new one at each call.
        slow: Include the checks that take seconds.
        **options: ``support`` if it isn't the reals, ``context_shape`` if it reads a context, ``labels=True`` if that
            is a one-hot label, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.BaseSubject(make, **options), slow)


def check_encoder(
    make: Callable[[], Encoder], context_shape: Shape, output_shape: Shape, slow: bool = False, **options: Any
) -> None:
    """Check an encoder, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        context_shape: The shape of the contexts that it is made for.
        output_shape: The shape of its summaries, without the batch.
        slow: Include the checks that take seconds.
        **options: ``labels=True`` if it reads one-hot labels, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.EncoderSubject(make, context_shape, output_shape, **options), slow)


def check_dataset(make: Callable[[], Dataset], **options: Any) -> None:
    """Check a dataset, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.DatasetSubject(make, **options))


def parametrize_with_checks(
    subjects: Mapping[str, Subject],
    slow: pytest.MarkDecorator | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> pytest.MarkDecorator:
    """Decorate ``def test(subject, check): check(subject)``, so that each check is a test with the id ``name-check``.

    A check that has nothing to check on a subject makes no test. Expected failures are strict xfails.

    Args:
        subjects: The subjects to check, by names.
        slow: A mark to put on the slow checks, such as ``pytest.mark.slow``. Without one they are left out.
        only: Ids of checks. It is empty for all.
        skip: Ids of checks to leave out.

    Returns:
        The decorator, a mark of pytest.

    Raises:
        InputError: If no check of any kind has one of the ids.
    """
    import pytest

    def parameter(name: str, subject: Subject, check_id: str, check: Check) -> Any:
        marks = [] if check_id in CHECKS[subject.kind] or slow is None else [slow]
        if reason := subject.expected_failures.get(check_id):
            marks.append(pytest.mark.xfail(reason=reason, strict=True))
        return pytest.param(subject, check, id=f"{name}-{check_id}", marks=marks)

    return pytest.mark.parametrize(
        ("subject", "check"),
        [
            parameter(name, subject, check_id, check)
            for name, subject in subjects.items()
            for check_id, check in select(subject, slow is not None, only, skip).items()
            if is_applicable(check, subject)
        ],
    )
