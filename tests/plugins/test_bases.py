"""The densities of first-party bases are those of torch.distributions and scipy, and so are their samples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D

from flowkit.errors import InputError
from flowkit.testing import perturb
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.conditional_normal import ConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.full_normal import FullNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.student_t import StudentT
from flowkit_glow.mlp import MLP
from flowkit_runtime.noise import normal, uniform
from tests.extent import extent

EVENT = (2, 1, 3)


def moved(base):
    torch.manual_seed(0)
    perturb(base.double(), 0.5)
    return base.requires_grad_(False)


def near(given, expected):
    torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)


def test_diagonal_normal():
    base, z = moved(DiagonalNormal(EVENT)), torch.randn(5, *EVENT, dtype=torch.float64)
    near(base.log_prob(z), D.Independent(D.Normal(base.mean, base.log_scale.exp()), 3).log_prob(z))


@pytest.mark.parametrize("frozen", [False, True])
def test_full_normal(frozen):
    base, z = moved(FullNormal(EVENT)), torch.randn(5, *EVENT, dtype=torch.float64)
    theirs = D.MultivariateNormal(base.mean.flatten(), scale_tril=base.factor())
    base = base.freeze() if frozen else base
    near(base.log_prob(z), theirs.log_prob(z.flatten(1)))
    eps = torch.randn(5, *EVENT, dtype=torch.float64)
    near(base.from_noise([eps]).flatten(1), theirs.loc + eps.flatten(1) @ theirs.scale_tril.mT)


def test_gaussian_mixture():
    base, z = moved(GaussianMixture(EVENT, 4)), torch.randn(5, *EVENT, dtype=torch.float64)
    components = D.Independent(D.Normal(base.mean, base.log_scale.exp()), 3)
    near(base.log_prob(z), D.MixtureSameFamily(D.Categorical(logits=base.logits), components).log_prob(z))


def test_a_mixture_chooses_by_its_weights():
    base = moved(GaussianMixture((1,), 4))
    u = torch.from_numpy(uniform(0, 0, (100_000,)))
    base.mean.copy_(torch.arange(4.0)[:, None])
    chosen = base.from_noise([u, torch.zeros(100_000, 1, dtype=torch.float64)])[:, 0].long()
    frequencies = torch.bincount(chosen, minlength=4) / 100_000
    torch.testing.assert_close(frequencies, base.logits.softmax(0).float(), atol=0.006, rtol=0)


def test_no_component_is_another_in_fp32():
    """The edges between components are multiples of 2⁻²³, and uniform noise lies between these."""
    base = moved(GaussianMixture((1,), 50)).float().double()  # fp32 has the same weights
    base.mean.copy_(torch.arange(50.0)[:, None])
    n = extent(10**6, 10**7)
    u = torch.from_numpy(uniform(0, 0, (n,)))
    edges = base.edges()
    assert torch.equal(edges.float().double(), edges) and not torch.isin(u, edges).any()
    rest = torch.zeros(n, 1)
    exact, single = base.from_noise([u, rest.double()]), base.float().from_noise([u.float(), rest])
    assert torch.equal(exact.round().float(), single.round())


@pytest.mark.parametrize("nu", [0.3, 1.0, 2.5, 30.0, 1e5])
@pytest.mark.parametrize("frozen", [False, True])
def test_student_t(nu, frozen):
    base = StudentT((3,), nu, learned=False).double()
    base.log_nu.fill_(math.log(nu))  # in fp64
    base = base.freeze() if frozen else base
    z = 10 * torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(base.log_prob(z), torch.from_numpy(stats.t.logpdf(z, nu).sum(1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nu", [0.3, 1.0, 2.5, 30.0, 1e5])
def test_the_polar_form_gives_a_t_distribution(nu):
    base = StudentT((1,), nu, learned=False).double()
    noise = [torch.from_numpy(normal(0, stream, (100_000, 1))) for stream in (0, 1)]
    assert stats.kstest(base.from_noise(noise)[:, 0].numpy(), stats.t(nu).cdf).pvalue > 1e-3


def test_the_polar_form_is_that_of_bailey():
    """t = cos θ √(ν (W^(-2/ν) - 1)) with W = exp(-s/2) and the angle θ of the two normals."""
    nu, noise = 2.5, [torch.randn(50, 1, dtype=torch.float64) for _ in range(2)]
    s, angle = noise[0] ** 2 + noise[1] ** 2, torch.atan2(noise[1], noise[0])
    published = angle.cos() * (nu * ((-s / 2).exp() ** (-2 / nu) - 1)).sqrt()
    torch.testing.assert_close(
        StudentT((1,), nu, learned=False).double().from_noise(noise), published, rtol=1e-6, atol=0
    )


def test_no_noise_is_the_middle_of_a_t_distribution():
    base, zero = StudentT((2,)), torch.zeros(1, 2, requires_grad=True)
    z = base.from_noise([zero, torch.zeros(1, 2)])
    assert torch.equal(z, torch.zeros(1, 2))
    assert torch.autograd.grad(z.sum(), zero)[0].tolist() == [[1.0, 1.0]]


def test_class_conditional_normal():
    base, z = moved(ClassConditionalNormal(EVENT, (3,))), torch.randn(6, *EVENT, dtype=torch.float64)
    labels = torch.arange(6) % 3
    theirs = D.Independent(D.Normal(base.mean[labels], base.log_scale[labels].exp()), 3)
    near(base.log_prob(z, torch.eye(3, dtype=torch.float64)[labels]), theirs.log_prob(z))


def test_conditional_normal():
    base = moved(ConditionalNormal(EVENT, (3,), MLP((3,), (2, *EVENT)), scale=(0.5, 4.0)))
    z, c = torch.randn(5, *EVENT, dtype=torch.float64), 100 * torch.randn(5, 3, dtype=torch.float64)
    mean, log_scale = base._mean_and_log_scale(c)
    assert log_scale.exp().min() >= 0.5 and log_scale.exp().max() <= 4.0
    near(base.log_prob(z, c), D.Independent(D.Normal(mean, log_scale.exp()), 3).log_prob(z))


def test_the_scale_is_one_where_the_network_gives_zero():
    base = ConditionalNormal((2,), (3,), MLP((3,), (2, 2)), scale=(0.5, 8.0)).double()
    mean, log_scale = base._mean_and_log_scale(torch.randn(4, 3, dtype=torch.float64))
    assert not mean.any() and log_scale.abs().max() < 1e-12


@pytest.mark.parametrize(
    "make", [lambda: ClassConditionalNormal((2,), (3,)), lambda: ConditionalNormal((2,), (3,), MLP((3,), (2, 2)))]
)
def test_a_context_is_needed(make):
    with pytest.raises(InputError, match="from the context: pass one"):
        make().log_prob(torch.zeros(1, 2))


def test_uniform_noise_is_exact_in_fp32_and_inside():
    u = uniform(3, 1, (10**6,))
    assert np.array_equal(u, u.astype(np.float32)) and u.min() > 0 and u.astype(np.float32).max() < 1
    assert np.array_equal((u * 2**24) % 2, np.ones(10**6))
