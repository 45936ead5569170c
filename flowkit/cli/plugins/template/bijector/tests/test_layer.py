import pytest
from flowkit.testing import check_bijector

from flowkit_NAME.layer import NameLayer


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape):
    check_bijector(lambda: NameLayer(shape, initial_scale=0.5))
