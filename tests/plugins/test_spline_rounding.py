"""The spline in fp32: finite where it is steep, and near the formula where the data is."""

import pytest
import torch

from flowkit_spline.rational_quadratic import RationalQuadratic

EPS = torch.finfo(torch.float32).eps


def test_steep_splines_invert_to_finite_values():
    generator = torch.Generator().manual_seed(0)
    theta = 10 * torch.randn(20_000, 23, 1, generator=generator)
    x = 6 * torch.rand(20_000, 1, generator=generator) - 3
    spline = RationalQuadratic(bins=8, bound=3.0)
    back, log_derivative = spline.inverse(spline(x, theta)[0], theta)
    assert back.isfinite().all() and log_derivative.isfinite().all() and back.abs().max() <= 3


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_middle_is_right_to_some_roundings(direction):
    """Of numbers up to 1, on a square of 8 × 8; counted from its corner, knots would be off by twice as much."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(20_000, 23, 1, generator=generator)
    x = 2 * torch.rand(20_000, 1, generator=generator) - 1
    run = getattr(RationalQuadratic(bins=8, bound=4.0), direction)
    exact, log_derivative = run(x.double(), theta.double())
    error = abs(run(x, theta)[0] - exact) / log_derivative.exp().clamp(min=1)
    assert error.mean() < 1.6 * EPS and error.max() < 14 * EPS
