"""Everything first-party through the conformance kit, by the call that a third party makes."""

import pytest

from flowkit.testing import SLOW_CHECKS, parametrize_with_checks
from tests.extent import extent
from tests.plugins.cases import SAME_GRAPHS, subjects

SUBJECTS = subjects()
GRAPHS = [
    name for name, subject in SUBJECTS.items() if SLOW_CHECKS[subject.kind] and name not in extent(SAME_GRAPHS, set())
]


@parametrize_with_checks(SUBJECTS)
def test_conformance(subject, check):
    check(subject)


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW_CHECKS["bijector"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, check):
    SLOW_CHECKS[SUBJECTS[name].kind][check](SUBJECTS[name])
