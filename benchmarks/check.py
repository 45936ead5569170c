"""Whether a contender computes what it says: its log_prob against the Jacobian by autodiff."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from benchmarks.contender import Density


def density_error(density: Density, x: Tensor) -> float:
    """The largest |log p(x) - log N(z; 0, I) - log|det ∂z/∂x|| over the batch, nats, in fp64. For small events."""
    density.start(x)
    density.module.double().eval()
    x = x.double()
    with torch.no_grad():
        log_prob, z = density.log_prob(x), density.latents(x)
    prior = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
    return (log_prob - prior - _log_det(density, x)).abs().max().item()


def _log_det(density: Density, x: Tensor) -> Tensor:
    """log|det| of the Jacobian of each event, [batch]."""
    maps = [jacobian(lambda v: density.latents(v[None])[0], event) for event in x]  # [D, *event] each
    return torch.stack([torch.linalg.slogdet(m.flatten(1)).logabsdet for m in maps])
