import torch
from flowkit.testing import EncoderSubject, check

from flowkit_NAME.encoder import NameEncoder


def test_conformance():
    check(EncoderSubject(lambda: NameEncoder((5, 2), features=3, hidden=8), (5, 2), (3,)))


def test_the_order_of_a_set_has_no_effect():
    encoder, sets = NameEncoder((5, 2)), torch.randn(4, 5, 2)
    torch.testing.assert_close(encoder(sets.flip(1)), encoder(sets))
