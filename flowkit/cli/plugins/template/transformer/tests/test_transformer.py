import pytest
import torch
from flowkit.testing import TransformerSubject, check

from flowkit_NAME.transformer import NameTransformer


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_conformance(shape):
    check(TransformerSubject(lambda: NameTransformer(max_slope=3.0), shape))


def test_identity_at_zero():
    transformer = NameTransformer()
    x, theta = torch.randn(2, 5), torch.zeros(2, transformer.n_params, 5)
    y, log_derivative = transformer(x, theta)
    assert torch.equal(y, x) and not log_derivative.any()
