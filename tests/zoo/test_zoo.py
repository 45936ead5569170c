"""The conformance kit catches every wrong plugin, by the check that should, and says so in words that help."""

import re
from pathlib import Path

import pytest

from flowkit.testing import CHECKS, NotApplicable, run_check
from flowkit.testing.common import COMMON
from flowkit.testing.run import explain
from tests.zoo import members  # noqa: F401  (it fills the zoo)
from tests.zoo.zoo import ZOO, table


@pytest.mark.parametrize("name", ZOO)
def test_caught_by_the_check_that_should(name):
    case = ZOO[name]
    with pytest.raises(Exception) as caught:  # whatever it raises, the kit reports it
        CHECKS[case.subject.kind][case.check](case.subject)
    assert not isinstance(caught.value, NotApplicable)
    assert re.search(case.says, explain(caught.value), re.DOTALL), explain(caught.value)


@pytest.mark.parametrize(
    ("name", "check"),
    [("WrongSign", "autocast"), ("InverseByForwardPermutation", "far"), ("EpsilonInOneDirection", "far")],
)
def test_nothing_is_asked_where_the_usual_case_fails_too(name, check):
    result = run_check(ZOO[name].subject, check)
    assert result.outcome == "failed"
    assert "?" not in result.reason


def test_every_check_has_a_bug_that_it_catches():
    caught = {(case.subject.kind, case.check) for case in ZOO.values()}
    shared = {check.__name__ for check in COMMON}
    own = {(kind, name) for kind in CHECKS for name in CHECKS[kind] if name not in shared}
    assert own <= caught
    assert shared <= {check for _, check in caught}


def test_the_table_is_that_of_the_code():
    page = Path(__file__).with_name("README.md")
    assert page.read_text("utf-8") == table(), "python -m tests.zoo writes it anew"
