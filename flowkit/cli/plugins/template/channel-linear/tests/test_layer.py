import pytest
from flowkit.testing import check_bijector

from flowkit_NAME.layer import NameLayer


@pytest.mark.parametrize("reflections", [1, 3])
@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape, reflections):
    check_bijector(lambda: NameLayer(shape, reflections))
