"""What a base distribution must do beside what every module must."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.flow import Base, StandardNormal
from flowkit.testing.compare import LOG_DET_TOLERANCE
from flowkit.testing.subjects import BaseSubject, NotApplicable

POINTS = {1: 20001, 2: 401}
"""Points along each axis of the quadrature, by the event's size."""


def density(subject: BaseSubject) -> None:
    """log p(z) is the density of z = from_noise(eps): log N(eps) - log|det ∂z/∂eps|, by autodiff, to 1e-9."""
    base = subject.module()
    eps = subject.normal(3, *base.event_shape)
    given = base.log_prob(base.from_noise(eps)).detach()
    expected = StandardNormal(base.event_shape).log_prob(eps) - torch.stack([_log_det(base, row) for row in eps])
    error = (given - expected).abs().max().item()
    assert error <= LOG_DET_TOLERANCE * (1 + expected.abs().max().item()), (
        f"log_prob is {given[0]:.12g}; from_noise, by autodiff, gives {expected[0]:.12g}: do both use the same "
        "location and scale, and has log_prob its normalizing constant?"
    )


def _log_det(base: Base, eps: Tensor) -> Tensor:
    size = eps.numel()
    jacobian = jacrev(base.from_noise)(eps[None]).reshape(size, size)
    return torch.linalg.slogdet(jacobian).logabsdet


@torch.no_grad()
def normalized(subject: BaseSubject) -> None:
    """∫ p(z) dz = 1 to 1e-3, by quadrature, for events of one or two values."""
    base = subject.module()
    size = math.prod(base.event_shape)
    if size not in POINTS:
        raise NotApplicable("the integral is taken for events of one or two values")
    n = POINTS[size]
    angle = math.pi * ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5)
    z, weight = angle.tan(), math.pi / n / angle.cos().square()  # the whole line, heavy tails included
    points = torch.stack(torch.meshgrid(*[z] * size, indexing="ij"), -1).reshape(-1, *base.event_shape)
    weights = torch.stack(torch.meshgrid(*[weight] * size, indexing="ij"), -1).prod(-1).flatten()
    integral = (base.log_prob(points).exp() * weights).sum().item()
    assert abs(integral - 1) <= 1e-3, f"the density integrates to {integral:.6g}, not 1"


@torch.no_grad()
def temperature(subject: BaseSubject) -> None:
    """Noise scaled by a temperature of 0, ½ or 1 gives finite events of finite density."""
    base = subject.module()
    eps = subject.normal(3, *base.event_shape)
    for scale in (0.0, 0.5, 1.0):
        z = base.from_noise(scale * eps)
        assert z.isfinite().all() and base.log_prob(z).isfinite().all(), f"not finite at temperature {scale}"


CHECKS = (density, normalized, temperature)
