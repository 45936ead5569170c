"""Defines the class-conditional normal distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import required_context
from flowkit.plugin import Shape
from flowkit_base.diagonal_normal import DiagonalBase


class ClassConditionalNormal(DiagonalBase):
    """A normal distribution with diagonal covariance for each class y: p(z | y) = N(z; μ_y, σ_y²).

    The means [classes, *event] and the standard deviations σ = exp(log_scale) are learned. The context is the class,
    one-hot [batch, classes]. At the start μ = 0 and σ = 1 for every class.

    With such bases a flow is a classifier, too: p(y | x) is proportional to p(x | y) p(y).

    Args:
        event_shape: The shape of one latent.
        context_shape: The number of classes, as (classes,).

    References:
        - Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", for the conditional prior.
        - Izmailov et al. 2020, "Semi-Supervised Learning with Normalizing Flows", for the classifier.

    Examples:
        >>> import torch
        >>> from flowkit_base.class_conditional_normal import ClassConditionalNormal
        >>> ClassConditionalNormal((2,), (10,)).log_prob(torch.zeros(3, 2), torch.eye(10)[:3]).shape
        torch.Size([3])
    """

    def __init__(self, event_shape: Sequence[int], context_shape: Shape) -> None:
        super().__init__(event_shape)
        (classes,) = context_shape
        self.mean = nn.Parameter(torch.zeros(classes, *self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(classes, *self.event_shape))

    def _mean_and_log_scale(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return μ and log σ of each event's class, [batch, *event]. Products with a one-hot row are exact."""
        label = required_context(context, "this base chooses its mean and scale")
        mean, log_scale = (label @ each.flatten(1) for each in (self.mean, self.log_scale))
        return mean.unflatten(1, self.event_shape), log_scale.unflatten(1, self.event_shape)
