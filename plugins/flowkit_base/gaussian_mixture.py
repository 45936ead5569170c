"""Defines the Gaussian mixture."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, Noise


class GaussianMixture(Base):
    """A mixture of K normals with diagonal covariances: p(z) = Σ_k w_k N(z; μ_k, σ_k²).

    log p(z) = logsumexp_k [log w_k + log N(z; μ_k, σ_k²)], with w = softmax(logits) and σ = exp(log_scale). All are
    learned. At the start the weights are equal, σ = 1, and the means are drawn from N(0, I), because components that
    are equal would stay so.

    A uniform number chooses the component, and normal numbers the place in it. Component k is chosen where u lies
    between Σ_{j<k} w_j and Σ_{j≤k} w_j. The sums are computed in fp64 and rounded to multiples of 2⁻²³, and u lies in
    the middle between two of these, so that every precision chooses the same component. A component with a weight below
    2⁻²⁴ may never be chosen. Temperature doesn't change how often a component is chosen, only how far samples lie from
    its mean.

    Args:
        event_shape: The shape of one latent.
        components: The number K of normals.

    References:
        Stimper et al. 2022, "Resampling Base Distributions of Normalizing Flows".

    Examples:
        >>> import torch
        >>> from flowkit_base.gaussian_mixture import GaussianMixture
        >>> base = GaussianMixture((2,), components=5)
        >>> [(noise.kind, noise.shape) for noise in base.noise]
        [('uniform', ()), ('normal', (2,))]
    """

    reparametrized = False
    frozen_edges: Tensor | None
    """What ``edges`` returns, of a frozen mixture."""

    def __init__(self, event_shape: Sequence[int], components: int) -> None:
        super().__init__(event_shape)
        self.components = components
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, *self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(components, *self.event_shape))
        self.register_buffer("frozen_edges", None, persistent=False)

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("uniform", ()), Noise("normal", self.event_shape))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        squares = ((z[:, None] - self.mean) * (-self.log_scale).exp()).square().flatten(2).sum(2)  # [batch, K]
        log_scales = self.log_scale.flatten(1).sum(1) + math.prod(z.shape[1:]) * math.log(2 * math.pi) / 2
        return (self.logits.log_softmax(0) - log_scales - squares / 2).logsumexp(1)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        u, eps = noise
        edges = self.edges() if self.frozen_edges is None else self.frozen_edges
        component = (u[:, None] > edges.to(u)).sum(1)
        return self.mean[component] + self.log_scale.exp()[component] * eps

    def edges(self) -> Tensor:
        """Return the numbers [K - 1] in fp64 between which u chooses a component: the sums of weights, rounded."""
        sums = self.logits.detach().double().softmax(0).cumsum(0)[:-1]
        return (sums * 2**23).round() / 2**23

    def freeze(self) -> GaussianMixture:
        frozen = copy.deepcopy(self)
        frozen.frozen_edges = self.edges()
        return frozen
