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
"""Those that take seconds, and run when asked for."""


def purpose(check: Check) -> str:
    """Return what a check asks for, in one line."""
    return " ".join((check.__doc__ or "").partition("\n\n")[0].split())


if TYPE_CHECKING:
    import pytest


Outcome = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]
ERRORS: tuple[Outcome, ...] = ("failed", "unexpected pass")
"""The outcomes that are not right."""

OURS = (str(Path(__file__).parent), str(Path(torch.__file__).parent))


@dataclass(frozen=True)
class Result:
    """The outcome of one check, and the reason unless it just passed."""

    check: str
    outcome: Outcome
    seconds: float
    reason: str = ""

    @property
    def is_error(self) -> bool:
        return self.outcome in ERRORS


def checks_of(subject: Subject, slow: bool = False) -> Mapping[str, Check]:
    """Return the subject's checks by id. Raises InputError if it expects one to fail that doesn't exist."""
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

    Raises InputError for an id that no check of any kind has.
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
    """Yield the result of each check when it is done: those that `select` gives, ``timeout`` seconds at most for each.

    Raises InputError for an id that no check has, and where there can be no time limit: see `TimeLimit`.
    """
    for name in select(subject, slow, only, skip):
        yield run_check(subject, name, timeout)


def run_check(subject: Subject, name: str, timeout: float | None = None) -> Result:
    """Run one check, by its id. It has failed if it takes more than ``timeout`` seconds."""
    check, limit = checks_of(subject, slow=True)[name], TimeLimit(timeout)
    start = time.perf_counter()
    outcome, reason = _attempt(check, subject, limit)
    seconds = time.perf_counter() - start
    if (expected := subject.expected_failures.get(name)) is None:
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
    """Run the checks as `run` does. Raises AssertionError listing all that fail, each with its reason."""
    results = run(subject, slow, only, skip, timeout)
    failures = [f"{result.check}: {result.reason}" for result in results if result.is_error]
    assert not failures, "\n".join(failures)


def check_bijector(
    make: Callable[[], Bijector], context_shape: Shape | None = None, slow: bool = False, **options: Any
) -> None:
    """Check what ``make`` builds. Raises AssertionError listing all that fail.

    Keep the event small, at most some 60 values: the Jacobian is computed in full. ``options`` are ``domain`` and
    ``codomain``, such as ``flowkit.plugin.Interval(0, 1)``, ``directions``, such as "forward", and those of every
    subject: ``seed``, and
    ``expected_failures``, the ids of checks that fail for now, each with the reason.
    """
    check(subjects.BijectorSubject(make, context_shape, **options), slow)


def check_transformer(
    make: Callable[[], Transformer], event_shape: Shape = (2, 3, 2), slow: bool = False, **options: Any
) -> None:
    """Check a transformer in the same way, on events of this shape.

    Pass ``domain`` if it isn't the reals, and ``directions`` if they aren't both.
    """
    check(subjects.TransformerSubject(make, event_shape, **options), slow)


def check_split(
    make: Callable[[], Split], shapes: tuple[Shape, Shape] | None = None, slow: bool = False, **options: Any
) -> None:
    """Check a split in the same way; ``shapes`` are those of its parts, as its config's ``split_shapes`` says."""
    check(subjects.SplitSubject(make, shapes, **options), slow)


def check_conditioner(
    make: Callable[[], Conditioner],
    kept_shape: Shape,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a conditioner in the same way, that is made for these shapes."""
    check(subjects.ConditionerSubject(make, kept_shape, params_shape, context_shape, **options), slow)


def check_masked_conditioner(
    make: Callable[[], MaskedConditioner],
    order: Order,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a masked conditioner in the same way, that is made for this order.

    Take an order that is neither that of the event nor its reverse, so that masks which ignore it are noticed.
    """
    check(subjects.MaskedConditionerSubject(make, order, params_shape, context_shape, **options), slow)


def check_order(make: Callable[[], Order], **options: Any) -> None:
    """Check an order in the same way."""
    check(subjects.OrderSubject(make, **options))


def check_base(make: Callable[[], Base], slow: bool = False, **options: Any) -> None:
    """Check a base distribution in the same way; with events of one or two values its integral is taken too.

    Pass ``support`` if it isn't the reals.
    """
    check(subjects.BaseSubject(make, **options), slow)


def check_encoder(
    make: Callable[[], Encoder], context_shape: Shape, output_shape: Shape, slow: bool = False, **options: Any
) -> None:
    """Check an encoder in the same way, that is made for contexts of a shape and gives summaries of another.

    Pass ``labels=True`` if it reads one-hot labels.
    """
    check(subjects.EncoderSubject(make, context_shape, output_shape, **options), slow)


def check_dataset(make: Callable[[], Dataset], **options: Any) -> None:
    """Check a dataset in the same way."""
    check(subjects.DatasetSubject(make, **options))


def parametrize_with_checks(
    subjects: Mapping[str, Subject],
    slow: pytest.MarkDecorator | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> pytest.MarkDecorator:
    """Decorate ``def test(subject, check): check(subject)``; the ids are ``name-check``.

    A check that has nothing to check on a subject makes no test. Expected failures are strict xfails. The slow checks
    are left out, unless ``slow`` is a mark to put on them, such as ``pytest.mark.slow``. ``only`` and ``skip`` choose
    checks by their ids.
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
