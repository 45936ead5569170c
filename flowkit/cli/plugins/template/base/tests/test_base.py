import torch
from flowkit.bijectors import StandardNormal

from flowkit_NAME.base import NameBase


def test_log_prob_is_that_of_the_noise_less_the_log_det():
    base = NameBase((3,), tail=1.7)
    for eps in torch.randn(5, 1, 3, dtype=torch.float64):
        jacobian = torch.func.jacrev(base.from_noise)(eps).reshape(3, 3)
        expected = StandardNormal((3,)).log_prob(eps) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(base.log_prob(base.from_noise(eps)), expected)


def test_images():
    base = NameBase((2, 4, 4))
    z = base.from_noise(torch.randn(5, 2, 4, 4))
    assert z.shape == (5, 2, 4, 4) and base.log_prob(z).shape == (5,)
