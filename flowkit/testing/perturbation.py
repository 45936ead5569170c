"""Parameters moved away from where they start, where scales are 1 and matrices are rotations and nothing shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

BOUND = 2.0
"""Noise is cut off at this many standard deviations."""


@torch.no_grad()
def perturb(module: nn.Module, scale: float) -> None:
    """Add noise of this scale to every parameter.

    The perturbed maps are well-conditioned by construction, so that a check may ask for ten digits of every draw.
    Noise on a vector is normal, cut off at 2 standard deviations: no scale grows without bound. Noise on a matrix
    (all dimensions but the first flattened) has a spectral norm of ``scale``: the singular values of a rotation W
    stay within 1 ± scale (Weyl's inequality), where independent entries make W + noise near-singular now and then.
    """
    for parameter in module.parameters():
        parameter.add_(_noise(parameter), alpha=scale)


def _noise(parameter: Tensor) -> Tensor:
    noise = torch.randn_like(parameter).clamp(-BOUND, BOUND)
    if parameter.dim() < 2 or parameter.numel() in (0, *parameter.shape):
        return noise
    return noise / torch.linalg.matrix_norm(noise.flatten(1).double(), 2).to(noise).clamp(min=1e-12)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's random numbers start at ``seed`` inside, and go on outside as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed, for devices that aren't there, takes 2 ms
        yield
