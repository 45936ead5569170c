"""First-party layers far from the usual values: finite where they promise to be."""

import torch

from flowkit_spline.rational_quadratic import RationalQuadratic


def test_steep_splines_invert_to_finite_values_in_fp32():
    generator = torch.Generator().manual_seed(0)
    theta = 10 * torch.randn(20_000, 23, 1, generator=generator)
    x = 6 * torch.rand(20_000, 1, generator=generator) - 3
    spline = RationalQuadratic(bins=8, bound=3.0)
    back, log_derivative = spline.inverse(spline(x, theta)[0], theta)
    assert back.isfinite().all() and log_derivative.isfinite().all() and back.abs().max() <= 3
