import pytest
import torch
from flowkit.bijectors import Autoregressive
from flowkit.testing import MaskedConditionerSubject, check, check_bijector
from flowkit_autoregressive.orders import Natural, Random
from flowkit_glow.affine import Affine

from flowkit_NAME.masked import NameMasked


@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_conformance(context_shape):
    order, params = Random((4,), seed=1), (2, 4)
    check(
        MaskedConditionerSubject(
            lambda: NameMasked(order, params, context_shape, hidden=3), order, params, context_shape
        )
    )


def test_conformance_of_an_autoregressive_layer():
    order = Random((4,), seed=1)
    check_bijector(lambda: Autoregressive(order, NameMasked(order, (2, 4), hidden=3), Affine()))


def test_zero_at_the_start():
    assert not NameMasked(Natural((4,)), (2, 4))(torch.randn(5, 4)).any()
