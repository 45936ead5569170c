import pytest
import torch
from flowkit.bijectors import Coupling
from flowkit.testing import check_bijector
from flowkit_glow.affine import Affine
from flowkit_glow.splits import Channels

from flowkit_NAME.conditioner import NameConditioner


@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_conformance_of_a_coupling(context_shape):
    def make():
        conditioner = NameConditioner((3,), (2, 2), context_shape, hidden=8)
        return Coupling(Channels((5,)), conditioner, Affine())

    check_bijector(make, context_shape)


def test_zero_at_the_start():
    assert not NameConditioner((3,), (2, 2))(torch.randn(4, 3)).any()
