"""Parameters are perturbed to the scale that training reaches, and stay well-conditioned."""

import pytest
import torch

from flowkit.bijectors import Bijector
from flowkit.testing import BijectorSubject, run_check
from flowkit_glow.conv1x1 import Conv1x1
from tests.extent import extent
from tests.zoo.wrong_continuous import GATED, IntegratesItsLogDet

SEEDS = range(extent(1, 20))


@pytest.mark.parametrize("layer", [IntegratesItsLogDet, *GATED])
@pytest.mark.parametrize("seed", range(extent(5, 20)))
def test_a_layer_that_starts_as_the_identity_shows_its_errors(layer, seed):
    checks = ("log_det", "inverse_log_det")
    results = [run_check(BijectorSubject(lambda: layer((3,)), seed=seed), check) for check in checks]
    assert "failed" in {result.outcome for result in results}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_layer_that_starts_as_the_identity_moves_far_from_it(seed):
    layer = BijectorSubject(lambda: IntegratesItsLogDet((3,)), seed=seed).module()
    x = torch.randn(200, 3, dtype=torch.float64)
    assert (layer.forward_and_log_det(x)[0] - x).square().mean().sqrt() > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_rotations_stay_well_conditioned_in_every_draw(seed):
    layers: list[Bijector] = BijectorSubject(lambda: Conv1x1((16,), "plain"), seed=seed).modules()
    assert all(torch.linalg.cond(layer.matrix.weight) < 1.6 / 0.4 + 1e-9 for layer in layers)
