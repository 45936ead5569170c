import pytest
from flowkit.bijectors import Coupling
from flowkit.plugin import ShapeError
from flowkit.testing import check_bijector
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP

from flowkit_NAME.plugin import NameSplitConfig
from flowkit_NAME.split import NameSplit


@pytest.mark.parametrize("shape", [(5, 2, 2), (4,)])
def test_conformance_of_a_coupling(shape):
    kept, transformed = NameSplitConfig(kept=3).split_shapes(shape)
    check_bijector(lambda: Coupling(NameSplit(shape, kept=3), MLP(kept, (2, *transformed)), Affine()))


def test_too_few_channels():
    with pytest.raises(ShapeError, match="lower `kept`"):
        NameSplitConfig(kept=3).split_shapes((3, 8, 8))
