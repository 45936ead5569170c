"""flowkit's conformance kit on every layer of this package, for images and for vectors."""

import pytest
from flowkit_example.bend import Bend
from flowkit_example.householder import Householder
from flowkit_example.sinh_arcsinh import SinhArcsinh

from flowkit.testing import check_bijector, check_transformer

SHAPES = [(4, 3, 2), (5,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_sinh_arcsinh(shape):
    check_bijector(lambda: SinhArcsinh(shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reflections", [1, 3])
def test_householder(reflections, shape):
    check_bijector(lambda: Householder(shape, reflections))


@pytest.mark.parametrize("shape", SHAPES)
def test_bend(shape):
    check_transformer(lambda: Bend(max_slope=3.0), shape)
