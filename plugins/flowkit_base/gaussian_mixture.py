"""Defines the Gaussian mixture."""

from __future__ import annotations

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

    def __init__(self, event_shape: Sequence[int], components: int) -> None:
        super().__init__(event_shape)
        self.components = components
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, *self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(components, *self.event_shape))

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("uniform", ()), Noise("normal", self.event_shape))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return _mixture_log_prob(z, self.logits.log_softmax(0), self.mean, self.log_scale)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return _chosen(noise, self.edges(), self.mean, self.log_scale)

    def edges(self) -> Tensor:
        """Return the numbers [K - 1] in fp64 between which u chooses a component: the sums of weights, rounded."""
        sums = self.logits.detach().double().softmax(0).cumsum(0)[:-1]
        return (sums * 2**23).round() / 2**23

    def freeze(self) -> FrozenMixture:
        return FrozenMixture(self)


class FrozenMixture(Base):
    """The same mixture with constant weights."""

    reparametrized = GaussianMixture.reparametrized
    noise = GaussianMixture.noise
    log_weights: Tensor
    edges: Tensor
    mean: Tensor
    log_scale: Tensor

    def __init__(self, base: GaussianMixture) -> None:
        super().__init__(base.event_shape)
        self.register_buffer("log_weights", base.logits.detach().log_softmax(0))
        self.register_buffer("edges", base.edges())
        self.register_buffer("mean", base.mean.detach())
        self.register_buffer("log_scale", base.log_scale.detach())

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return _mixture_log_prob(z, self.log_weights, self.mean, self.log_scale)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return _chosen(noise, self.edges, self.mean, self.log_scale)


def _mixture_log_prob(z: Tensor, log_weights: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return log p(z) [batch]. mean and log_scale are [K, *event]."""
    squares = ((z[:, None] - mean) * (-log_scale).exp()).square().flatten(2).sum(2)  # [batch, K]
    log_scales = log_scale.flatten(1).sum(1) + math.prod(z.shape[1:]) * math.log(2 * math.pi) / 2
    return (log_weights - log_scales - squares / 2).logsumexp(1)


def _chosen(noise: Sequence[Tensor], edges: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return samples of the components that the uniform numbers u choose."""
    u, eps = noise
    component = (u[:, None] > edges.to(u)).sum(1)
    return mean[component] + log_scale.exp()[component] * eps
