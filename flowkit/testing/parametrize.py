"""Makes a test of pytest of each check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from flowkit.testing.catalog import CHECKS, select
from flowkit.testing.subjects import Check, Subject, is_applicable

if TYPE_CHECKING:
    import pytest


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
