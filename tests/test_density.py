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
from flowkit_data.diabetes import Diabetes
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
