"""Defines the mixture-of-logistics transformer of Flow++."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import Transformer, bounded_log_scale, numeric_inverse


class MixtureOfLogistics(Transformer):
    """The map y = logit(F(x)), where F is the distribution function of a mixture of K logistic distributions.

    F(x) = Σ_k π_k σ((x - μ_k) / s_k)  and  ∂y/∂x = p(x) / F(x) + p(x) / (1 - F(x)), where p = F'. F, 1 - F and both
    quotients are sums of exponentials, so that neither tail loses digits.

    θ has 3 K parameters: the logits of π, the means μ, and t with s = s(t) between the bounds ``scale``. Equal
    components would stay equal, so their means start evenly spaced from -1 to 1. y is near x there.

    The inverse has no formula. F lies between those of the components, so x lies between the smallest and the largest
    of their solutions μ_k + s_k y. ``numeric_inverse`` searches there.

    Args:
        components: The number K of logistic distributions.
        scale: The bounds (lo, hi) of the scales s, with 0 < lo < 1 < hi.

    References:
        Ho et al. 2019, "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture
        Design", eq. 13, without the affine map that follows there.

    Examples:
        >>> import torch
        >>> from flowkit_mixture.logistic import MixtureOfLogistics
        >>> transformer = MixtureOfLogistics(components=4)
        >>> theta = transformer.from_start(torch.zeros(1, 12, 3))
        >>> y, _ = transformer(torch.tensor([[-1.0, 0.0, 1.0]]), theta)
        >>> x, _ = transformer.inverse(y, theta)
        >>> torch.allclose(x, torch.tensor([[-1.0, 0.0, 1.0]]), atol=1e-5)
        True
    """

    def __init__(self, components: int = 8, scale: tuple[float, float] = (0.25, 4.0)) -> None:
        means = torch.linspace(-1, 1, components).tolist()
        super().__init__(starting_theta=[0.0] * components + means + [0.0] * components)
        self.components, self.scale = components, scale
        self.n_params = 3 * components

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return _logit_of_mixture(x, *self._mixture(theta))

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        mixture = self._mixture(theta)
        _, mean, log_scale = mixture
        solutions = mean + log_scale.exp() * y[:, None]
        return numeric_inverse(lambda x: _logit_of_mixture(x, *mixture), y, solutions.amin(1), solutions.amax(1))

    def _mixture(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log π, μ and log s, each [batch, K, *event]."""
        logits, mean, t = theta.chunk(3, 1)
        # A copy: of a loop that reads a view, torch.export takes twice as long.
        return F.log_softmax(logits, 1), mean.clone(), bounded_log_scale(t, *self.scale)


def _logit_of_mixture(x: Tensor, log_weight: Tensor, mean: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return y and log ∂y/∂x for x [batch, *event] and a mixture [batch, K, *event]."""
    u = (x[:, None] - mean) * torch.exp(-log_scale)
    below, above = F.logsigmoid(u), F.logsigmoid(-u)
    log_cdf, log_survival = (torch.logsumexp(log_weight + side, 1, keepdim=True) for side in (below, above))
    # Far out log p and the logarithm of a tail are large and nearly equal. Their difference is taken in each component.
    by_cdf = (log_weight + below - log_cdf) + above - log_scale
    by_survival = (log_weight + above - log_survival) + below - log_scale
    log_derivative = torch.logsumexp(torch.cat([by_cdf, by_survival], 1), 1)
    return (log_cdf - log_survival).squeeze(1), log_derivative
