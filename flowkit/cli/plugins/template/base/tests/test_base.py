import torch
from flowkit.testing import BaseSubject, check

from flowkit_NAME.base import NameBase


def test_conformance():
    check(BaseSubject(lambda: NameBase((2,), tail=1.7)))


def test_images():
    base = NameBase((2, 4, 4))
    z = base.from_noise([torch.randn(5, 2, 4, 4)])
    assert z.shape == (5, 2, 4, 4) and base.log_prob(z).shape == (5,)
