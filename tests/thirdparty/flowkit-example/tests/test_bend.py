import pytest
from flowkit_example.bend import Bend

from flowkit.testing import check_transformer


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape):
    check_transformer(lambda: Bend(max_slope=3.0), shape)
