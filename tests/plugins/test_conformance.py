"""Everything first-party through the conformance kit, by the call that a third party makes."""

import pytest

from flowkit.testing import parametrize_with_checks
from tests.plugins.cases import subjects


@parametrize_with_checks(subjects(), slow=pytest.mark.slow)
def test_conformance(subject, check):
    check(subject)
