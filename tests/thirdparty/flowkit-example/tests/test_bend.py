import pytest
import torch
from flowkit_example.bend import Bend

from flowkit.testing import check_transformer


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape):
    check_transformer(lambda: Bend(max_slope=3.0), shape)


def test_identity_at_zero():
    x, theta = torch.randn(2, 5), torch.zeros(2, 3, 5)
    y, log_derivative = Bend()(x, theta)
    assert torch.equal(y, x) and not log_derivative.any()
