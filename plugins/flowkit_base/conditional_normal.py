"""Defines the normal distribution whose mean and scale a network computes from the context."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flowkit.bijectors import Conditioner, bounded_log_scale, required_context
from flowkit.plugin import Shape, Use
from flowkit_base.diagonal_normal import DiagonalBase


class ConditionalNormal(DiagonalBase):
    """A normal distribution with diagonal covariance that depends on the context c: p(z | c) = N(z; μ(c), σ(c)²).

    A network computes μ and t from c. log σ is a scaled and shifted tanh of t between log lo and log hi. It is 0 at
    t = 0.

    The network reads the context in the place of the kept part, as in an elementwise layer: it is built with the
    context's shape as ``kept_shape`` and ``context_shape=None``, and gives [batch, 2, *event].

    Args:
        event_shape: The shape of one latent.
        context_shape: The shape of the context.
        conditioner: The network, or the reference of a spec from which it is built.
        scale: The bounds (lo, hi) of σ, with 0 < lo < 1 < hi.

    References:
        Winkler et al. 2019, "Learning Likelihoods with Conditional Normalizing Flows", §3.2.

    Examples:
        >>> import torch
        >>> from flowkit_base.conditional_normal import ConditionalNormal
        >>> from flowkit_glow.mlp import MLP
        >>> base = ConditionalNormal((2,), (10,), MLP((10,), (2, 2)))
        >>> base.log_prob(torch.zeros(3, 2), torch.zeros(3, 10)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        context_shape: Shape,
        conditioner: Use | Conditioner,
        scale: tuple[float, float] = (0.01, 100.0),
    ) -> None:
        super().__init__(event_shape)
        self.scale = scale
        params: Shape = (2, *self.event_shape)
        built = conditioner.build(context_shape, params, None) if isinstance(conditioner, Use) else conditioner
        self.conditioner: Conditioner = built

    def initialize(self, z: Tensor, context: Tensor | None = None) -> None:
        self.conditioner.initialize(self._required(context))

    def _mean_and_log_scale(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        theta = self.conditioner(self._required(context))
        return theta[:, 0], bounded_log_scale(theta[:, 1], *self.scale)

    def _required(self, context: Tensor | None) -> Tensor:
        return required_context(context, "this base computes its mean and scale")
