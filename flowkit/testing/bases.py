"""Checks what a base distribution must do beside what every module must."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowkit.bijectors import Base, StandardNormal
from flowkit.testing.common import LARGE
from flowkit.testing.compare import LOG_DET_TOLERANCE, as_by_autodiff, jacobian, within
from flowkit.testing.subjects import BaseSubject, only_where

POINTS = {1: 20001, 2: 301}
"""Points along each axis of the quadrature, by the event's size."""


def density(subject: BaseSubject) -> None:
    """log p(z) is the density of z = from_noise(eps): log N(eps) - log|det ∂z/∂eps|, by autodiff, to 1e-9.

    Three times farther out too, to 1e-6, and the determinant has one sign: from_noise folds nothing.
    """
    base = subject.module()
    eps = subject.normal(6, *base.event_shape)
    signs = set()
    for scaled, tolerance in ((eps, LOG_DET_TOLERANCE), (3 * eps, 1e-6)):
        slogdets = [torch.linalg.slogdet(jacobian(base.from_noise, row[None])) for row in scaled]
        signs |= {sign.item() for sign, _ in slogdets}
        expected = StandardNormal(base.event_shape).log_prob(scaled) - torch.stack([log_det for _, log_det in slogdets])
        given = base.log_prob(base.from_noise(scaled)).detach()
        as_by_autodiff("log_prob", given, expected, lambda: f" of from_noise: {ADVICE}", tolerance)
    assert len(signs) == 1, "the determinant of ∂z/∂eps has both signs: from_noise folds, and some z come from two eps"


ADVICE = "do both use the same location and scale, and has log_prob its normalizing constant?"


@only_where(
    lambda subject: math.prod(subject.fresh().event_shape) in POINTS,
    "the integral is taken for events of one or two values",
)
def normalized(subject: BaseSubject) -> None:
    """∫ p(z) dz = 1 to 1e-3, by quadrature, for events of one or two values.

    Where p jumps, a sum over a grid depends on where the grid lies: by as much it may be off.
    """
    base = subject.module()
    integrals = torch.stack([_integral(base, shift) for shift in (0.125, 0.375, 0.625, 0.875)])
    integral, spread = integrals.mean().item(), (integrals.max() - integrals.min()).item()
    assert abs(integral - 1) <= 1e-3 + spread, f"the density integrates to {integral:.6g}, not 1"


@torch.no_grad()
def _integral(base: Base, shift: float) -> Tensor:
    """Return the sum over a grid on the whole line, heavy tails included, that begins at this part of a step."""
    size = math.prod(base.event_shape)
    n = POINTS[size]
    angle = math.pi * ((torch.arange(n, dtype=torch.float64) + shift) / n - 0.5)
    z, weight = angle.tan(), math.pi / n / angle.cos().square()
    points = torch.stack(torch.meshgrid(*[z] * size, indexing="ij"), -1).reshape(-1, *base.event_shape)
    weights = torch.stack(torch.meshgrid(*[weight] * size, indexing="ij"), -1).prod(-1).flatten()
    return (base.log_prob(points).exp() * weights).sum()


@torch.no_grad()
def temperature(subject: BaseSubject) -> None:
    """Noise scaled by a temperature of 0, ½ or 1 gives finite events of finite density."""
    base = subject.module()
    eps = subject.normal(3, *base.event_shape)
    for scale in (0.0, 0.5, 1.0):
        z = base.from_noise(scale * eps)
        assert z.isfinite().all() and base.log_prob(z).isfinite().all(), f"not finite at temperature {scale}"


@torch.no_grad()
def domains(subject: BaseSubject) -> None:
    """from_noise gives values in the support, for noise three times as far out as usual too."""
    base = subject.module()
    within("from_noise", base.from_noise(3 * subject.normal(LARGE, *base.event_shape)), subject.support)


@torch.no_grad()
def tails(subject: BaseSubject) -> None:
    """Noise of ±6, which an image has now and then, gives finite events of finite density, in fp32 too."""
    for dtype in (torch.float64, torch.float32):
        base = subject.module().to(dtype)
        eps = 6 * torch.sign(subject.normal(4, *base.event_shape)).to(dtype)
        z = base.from_noise(eps)
        for name, value in (("from_noise", z), ("log_prob", base.log_prob(z))):
            assert value.isfinite().all(), (
                f"{name} is not finite for noise of ±6 in {dtype}: a distribution function is 1 there by rounding; "
                "use what is left to 1, as torch.special.erfc and log_ndtr do"
            )


CHECKS = (density, normalized, temperature, domains, tails)
