import pytest
from flowkit_example.householder import Householder

from flowkit.testing import check_bijector


@pytest.mark.parametrize("reflections", [1, 3])
@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape, reflections):
    check_bijector(lambda: Householder(shape, reflections))
