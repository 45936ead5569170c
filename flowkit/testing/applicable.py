"""Checks that have nothing to check on some subjects."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

Check = Callable[[Any], None]
"""Takes a subject; raises AssertionError saying what is wrong, or NotApplicable."""


class NotApplicable(Exception):
    """Raised by a check that has nothing to check here, with the reason."""


def only_where(holds: Callable[[Any], bool], otherwise: str) -> Callable[[Check], Check]:
    """Decorates a check of those subjects for which this holds; on others it is not applicable, for this reason."""

    def decorate(check: Check) -> Check:
        @wraps(check)
        def checked(subject: Any) -> None:
            if not holds(subject):
                raise NotApplicable(otherwise)
            check(subject)

        checked.holds = holds  # type: ignore[attr-defined]
        return checked

    return decorate


def is_applicable(check: Check, subject: Any) -> bool:
    """Whether the check has something to check on the subject; so it has where the subject can't even be made."""
    try:
        return bool(getattr(check, "holds", lambda _: True)(subject))
    except (Exception, SystemExit):  # whatever a plugin raises: the checks will say so
        return True
