import pytest
from flowkit_example.sinh_arcsinh import SinhArcsinh

from flowkit.testing import check_bijector


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape):
    check_bijector(lambda: SinhArcsinh(shape))
