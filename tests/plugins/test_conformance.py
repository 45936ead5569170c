"""Every first-party layer and transformer through the conformance kit, by the calls that a third party makes."""

import pytest

from flowkit.testing import CHECKS, Elementwise, Subject
from tests.plugins.cases import BIJECTORS, CONDITIONAL, TRANSFORMERS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", BIJECTORS)
def test_bijector(name, check):
    CHECKS[check](Subject(BIJECTORS[name]))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_bijector(name, check):
    make, context_shape = CONDITIONAL[name]
    CHECKS[check](Subject(make, context_shape))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("event", [(5,), (2, 3, 2), (1,)], ids=str)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformer(name, event, check):
    CHECKS[check](Subject(lambda: Elementwise(TRANSFORMERS[name](), event)))
