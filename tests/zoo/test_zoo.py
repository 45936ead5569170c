"""The conformance kit catches every wrong bijector, by the check that should."""

import pytest

from flowkit.testing import CHECKS, Subject, check_bijector
from tests.zoo.wrong import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_caught_by_the_check_that_should(name):
    make, check, context_shape = ZOO[name]
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check](Subject(make, context_shape))


@pytest.mark.parametrize("name", ZOO)
def test_caught_by_the_kit(name):
    make, check, context_shape = ZOO[name]
    with pytest.raises(AssertionError, match=f"(?m)^{check}: "):
        check_bijector(make, context_shape)


def test_the_classic_is_explained():
    with pytest.raises(AssertionError, match=r"short by the factor h·w = 6"):
        check_bijector(ZOO["ForgetsPositions"][0])
