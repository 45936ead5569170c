"""A trained density integrates to 1, and a trained flow exports within the absolute figures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import train
from tests.extent import extent

SPECS = Path(__file__).parents[1] / "specs"


@pytest.mark.slow
@pytest.mark.parametrize("name", extent(["spline-moons"], ["realnvp-moons", "spline-moons"]))
def test_a_trained_density_integrates_to_1(name, tmp_path):
    train(read_spec(SPECS / f"{name}.yaml", ["train.epochs=10"]), tmp_path / "run")
    flow = Flow.load(tmp_path / "run").double()
    total = integrate(flow, half_width=8.0, cells=1600)
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
