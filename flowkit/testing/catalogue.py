"""All checks by kind and by their stable ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowkit.plugin.kinds import KINDS
from flowkit.testing import autocast, bases, bijectors, conditioners, datasets, plugins, slow, splits, transformers
from flowkit.testing.applicable import Check
from flowkit.testing.common import COMMON


def _by_id(*groups: Iterable[Check]) -> dict[str, Check]:
    return {check.__name__: check for group in groups for check in group}


CHECKS: Mapping[str, Mapping[str, Check]] = {
    "bijector": _by_id(COMMON, bijectors.CHECKS, (autocast.autocast,)),
    "transformer": _by_id(COMMON, transformers.CHECKS),
    "split": _by_id(COMMON, splits.CHECKS),
    "conditioner": _by_id(COMMON, conditioners.CHECKS),
    "base": _by_id(COMMON, bases.CHECKS),
    "dataset": _by_id(datasets.CHECKS),
    "plugin": _by_id(plugins.CHECKS),
}
"""Each kind's checks. An id never changes its meaning, which is the first paragraph of the check's docstring."""

SLOW_CHECKS: Mapping[str, Mapping[str, Check]] = {
    kind: _by_id(slow.CHECKS) if kind in KINDS and KINDS[kind].in_flow else {} for kind in CHECKS
}
"""Those that take seconds, and run when asked for."""


def describe(check: Check) -> str:
    """What a check asks for, in one line."""
    return " ".join((check.__doc__ or "").partition("\n\n")[0].split())
