"""Everything first-party through the conformance kit, by the call that a third party makes."""

import pytest

from flowkit.testing import SLOW_CHECKS, check
from tests.extent import extent
from tests.plugins.cases import LIKE_OTHERS, SAME_GRAPHS, TRACED_IN_PARTS, subjects

SUBJECTS = subjects()
GRAPHS = [
    name for name, subject in SUBJECTS.items() if SLOW_CHECKS[subject.kind] and name not in extent(SAME_GRAPHS, set())
]
NOT_TRACED = extent(SAME_GRAPHS | TRACED_IN_PARTS, set())


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name not in extent(LIKE_OTHERS, set())])
def test_conformance(name):
    """All checks. Tracing takes longer than the others together, and is left out where it would give a known graph."""
    check(SUBJECTS[name], skip=("export",) if name in NOT_TRACED else ())


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW_CHECKS["bijector"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, check):
    SLOW_CHECKS[SUBJECTS[name].kind][check](SUBJECTS[name])
