import pytest
from flowkit.bijectors import Autoregressive
from flowkit.testing import OrderSubject, check, check_bijector
from flowkit_autoregressive.made import MADE
from flowkit_glow.affine import Affine

from flowkit_NAME.order import NameOrder


@pytest.mark.parametrize("shape", [(5,), (2, 2, 3)])
def test_conformance(shape):
    check(OrderSubject(lambda: NameOrder(shape)))


def test_conformance_of_an_autoregressive_layer():
    order = NameOrder((5,))
    check_bijector(lambda: Autoregressive(order, MADE(order, (2, 5), hidden=8), Affine()))


def test_every_second_value_first():
    assert list(NameOrder((5,)).sequence()) == [0, 2, 4, 1, 3]
