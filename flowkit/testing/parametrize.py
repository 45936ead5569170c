"""One pytest test for each pair of a subject and a check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from flowkit.testing.applicable import Check, is_applicable
from flowkit.testing.catalogue import CHECKS
from flowkit.testing.run import select
from flowkit.testing.subjects import Subject

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    subjects: Mapping[str, Subject],
    slow: pytest.MarkDecorator | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> pytest.MarkDecorator:
    """Decorates ``def test(subject, check): check(subject)``; the ids are ``name-check``.

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
