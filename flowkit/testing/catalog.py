"""Lists the checks of each kind by their ids, and selects those of a subject."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from flowkit.errors import InputError
from flowkit.testing import (
    autoregressive,
    bases,
    bijectors,
    couplings,
    datasets,
    encoders,
    plugins,
    slow,
    transformers,
)
from flowkit.testing.common import COMMON
from flowkit.testing.subjects import Check, Subject

_OF_MODULES: Mapping[str, Iterable[Check]] = {
    "bijector": bijectors.CHECKS,
    "transformer": transformers.CHECKS,
    "split": couplings.SPLIT_CHECKS,
    "conditioner": couplings.CONDITIONER_CHECKS,
    "masked-conditioner": autoregressive.MASKED_CHECKS,
    "base": bases.CHECKS,
    "encoder": encoders.CHECKS,
}
"""The checks of kinds that compute tensors. They have the common checks and the slow ones too."""

_OF_OTHERS: Mapping[str, Iterable[Check]] = {
    "order": autoregressive.ORDER_CHECKS,
    "dataset": datasets.CHECKS,
    "plugin": plugins.CHECKS,
}


def _by_id(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.__name__: check for check in checks}


CHECKS: Mapping[str, Mapping[str, Check]] = {
    **{kind: _by_id((*COMMON, *own)) for kind, own in _OF_MODULES.items()},
    **{kind: _by_id(own) for kind, own in _OF_OTHERS.items()},
}
"""Each kind's checks. An id never changes its meaning, which is the first paragraph of the check's docstring."""

SLOW_CHECKS: Mapping[str, Mapping[str, Check]] = {
    kind: _by_id(slow.CHECKS if kind in _OF_MODULES else ()) for kind in CHECKS
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
        InputError: If no check of any kind has one of the ids, or that of a failure which the subject expects.
    """
    check_ids(*only, *skip, *subject.expected_failures)
    checks = {**CHECKS[subject.kind], **(SLOW_CHECKS[subject.kind] if slow or only else {})}
    return {id_: check for id_, check in checks.items() if id_ not in skip and (not only or id_ in only)}
