"""Densities integrate to 1. A trained conditional density beats a linear-Gaussian, and is served as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import read_spec
from flowkit.testing import perturb
from flowkit.train import train
from flowkit.train.baselines import baselines
from flowkit_data.draws import PRIOR, Draws
from flowkit_data.scikit_learn import Diabetes
from tests.extent import extent

SPECS = Path(__file__).parents[1] / "specs"


@pytest.mark.slow
@pytest.mark.parametrize("name", extent(["spline-moons"], ["realnvp-moons", "spline-moons"]))
def test_a_trained_density_integrates_to_1(name, tmp_path):
    train(read_spec(SPECS / f"{name}.yaml", ["train.epochs=10"]), tmp_path / "run")
    flow = Flow.load(tmp_path / "run").double()
    total = integrate(flow, half_width=8.0, cells=800)
    assert total == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def integrate(flow: Flow, half_width: float, cells: int) -> float:
    """The midpoint rule on a square around 0."""
    side = (np.arange(cells) + 0.5) / cells * 2 * half_width - half_width
    total = 0.0
    for row in side:
        points = np.stack([np.full(cells, row), side], 1)
        total += flow.log_prob(torch.from_numpy(points)).exp().sum().item()
    return total * (2 * half_width / cells) ** 2


@pytest.fixture
def held_out() -> Arrays:
    return Diabetes().load("test")


@torch.no_grad()
def integrals(flow: Flow, contexts: torch.Tensor) -> list[float]:
    """∫ p(y | c) dy for each context c, by the trapezoidal rule; y is about 150 ± 80."""
    y = torch.linspace(-3000, 3000, 60_001, dtype=torch.float64)
    return [torch.trapezoid(flow.log_prob(y[:, None], c).exp(), y).item() for c in contexts.double()]


def test_a_conditional_density_of_one_value_integrates_to_1(held_out: Arrays) -> None:
    y, given = torch.from_numpy(held_out.x), torch.from_numpy(held_out.context)
    flow = Flow.from_spec(SPECS / "nsf-diabetes.yaml").double()
    flow.initialize(y.double(), given.double())
    perturb(flow, 0.3)
    assert integrals(flow, 20 * given[:10]) == pytest.approx([1] * 10, abs=1e-4)


@pytest.mark.slow
def test_the_density_of_diabetes(held_out: Arrays, tmp_path: Path) -> None:
    y, given = torch.from_numpy(held_out.x), torch.from_numpy(held_out.context)
    train(read_spec(SPECS / "nsf-diabetes.yaml"), tmp_path / "run")
    flow = Flow.load(tmp_path / "run")
    with torch.no_grad():
        log_prob = flow.log_prob(y, given)
    linear = baselines(Diabetes().load("train"), held_out, None)["linear-gaussian"]
    assert -log_prob.mean().item() < linear - 0.1  # 5.32 and 5.47 nats
    export(flow, tmp_path / "bundle", y, given)
    served = flowkit_runtime.load(tmp_path / "bundle").log_prob(held_out.x, held_out.context)
    np.testing.assert_allclose(served, log_prob, atol=1e-4)
    assert integrals(flow.double(), given[:10]) == pytest.approx([1] * 10, abs=1e-4)


def exact_posterior(draws: np.ndarray) -> tuple[torch.distributions.Gamma, np.ndarray, np.ndarray]:
    """Return p(1/σ² | draws), and of p(μ | σ, draws) the mean and by what σ² is divided (Gelman et al. 2013, §3.3)."""
    n, mean = draws.shape[1], draws.mean(1)
    precision = PRIOR["precision"] + n
    scale = (
        PRIOR["scale"] + ((draws - mean[:, None]) ** 2).sum(1) / 2 + PRIOR["precision"] * n * mean**2 / (2 * precision)
    )
    gamma = torch.distributions.Gamma(torch.tensor(PRIOR["shape"] + n / 2).double(), torch.from_numpy(scale))
    return gamma, n * mean / precision, np.full_like(mean, precision)


def exact_log_prob(x: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """log p(μ, σ | draws). The density of σ is that of λ = 1/σ² times |dλ/dσ| = 2/σ³."""
    gamma, mean, precision = exact_posterior(draws)
    mu, sigma = torch.from_numpy(x.T)
    normal = torch.distributions.Normal(torch.from_numpy(mean), sigma / torch.from_numpy(precision).sqrt())
    return (gamma.log_prob(sigma**-2) + np.log(2) - 3 * sigma.log() + normal.log_prob(mu)).numpy()


def test_the_exact_posterior_is_a_density() -> None:
    """The integral over a box around the posterior of one set, by the midpoint rule."""
    draws = Draws(10, 20).load("train").context[:1, :, 0].astype(float)
    mu, sigma = (np.linspace(low, high, 801)[:-1] + (high - low) / 1600 for low, high in ((-4, 4), (0.2, 4)))
    points = np.stack(np.meshgrid(draws.mean() + mu, sigma, indexing="ij"), -1).reshape(-1, 2)
    total = np.exp(exact_log_prob(points, draws)).sum() * (8 / 800) * (3.8 / 800)
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_the_posterior_of_a_set_is_the_exact_one(tmp_path: Path) -> None:
    """In density, and its samples in the mean and the standard deviation of μ and of log σ."""
    train(read_spec(SPECS / "nsf-draws.yaml"), tmp_path / "run")
    flow, test = Flow.load(tmp_path / "run"), Draws(20_000, 20).load("test")
    x, context = torch.from_numpy(test.x), torch.from_numpy(test.context)
    with torch.no_grad():
        below = (
            exact_log_prob(test.x.astype(float), test.context[..., 0].astype(float)) - flow.log_prob(x, context).numpy()
        )
    assert -0.01 < below.mean() < 0.05 and abs(np.median(below)) < 0.02  # 0.022 and 0.002 nats
    some = context[:50]
    drawn = flow.sample((4000, 50), some, seed=0).double()
    gamma, mean, precision = exact_posterior(some[..., 0].double().numpy())
    sigma = gamma.sample((4000,)) ** -0.5
    mu = torch.from_numpy(mean) + sigma / torch.from_numpy(precision).sqrt() * torch.randn(4000, 50).double()
    for ours, theirs in ((drawn[..., 0], mu), (drawn[..., 1].log(), sigma.log())):
        assert ((ours.mean(0) - theirs.mean(0)).abs() / theirs.std(0)).median() < 0.1
        assert (ours.std(0) / theirs.std(0)).log().abs().median() < 0.1
    shuffled = context[:, torch.randperm(20)]
    torch.testing.assert_close(flow.log_prob(x, shuffled), flow.log_prob(x, context), atol=1e-3, rtol=0)
