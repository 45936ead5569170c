"""Defines elementwise layers, which transform each value of an event with parameters that don't depend on the event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import Bijector, full_precision, required_context, sum_over_event
from flowkit.bijectors.coupling import Conditioner, Transformer
from flowkit.directions import Shared
from flowkit.shapes import Shape


class Elementwise(Bijector):
    """The layer y = f(x; θ), applied to each value of the event, with log|det| = Σ log|∂f/∂x|.

    With a conditioner, θ is θ(context): the network reads the context in the place of the kept part, and is built with
    the context's shape as ``kept_shape`` and ``context_shape=None``. A flow of such layers is a density p(x | context)
    for events of any size, a single value included. Without a conditioner, θ is a parameter [n_params, *event] that
    starts at 0, or at the transformer's starting θ.

    The network is run under autocast if that is enabled, and f in the precision of the event.

    Args:
        event_shape: The shape of one event, without the batch.
        transformer: The elementwise map f.
        conditioner: The network that computes θ from the context, or None if θ is a parameter.

    Examples:
        >>> import torch
        >>> from flowkit import Flow
        >>> from flowkit.bijectors import Elementwise
        >>> from flowkit_glow.affine import Affine
        >>> from flowkit_glow.mlp import MLP
        >>> flow = Flow([Elementwise((1,), Affine(), MLP((10,), (2, 1)))], context={"shape": [10]})
        >>> flow.log_prob(torch.zeros(3, 1), torch.randn(3, 10)).shape
        torch.Size([3])
    """

    handles_autocast: ClassVar[bool] = True

    def __init__(
        self, event_shape: Sequence[int], transformer: Transformer, conditioner: Conditioner | None = None
    ) -> None:
        super().__init__(event_shape)
        self.transformer, self.conditioner = transformer, conditioner
        shape: Shape = (transformer.n_params, *self.event_shape)
        self.theta = nn.Parameter(transformer.from_start(torch.zeros(1, *shape))[0]) if conditioner is None else None

    @property
    def directions(self) -> Shared:
        return self.transformer.directions

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        theta = self._theta(x, context)
        with full_precision(x.device):
            y, log_derivative = self.transformer(x, theta)
            return y, sum_over_event(log_derivative).expand(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        theta = self._theta(y, context)
        with full_precision(y.device):
            x, log_derivative = self.transformer.inverse(y, theta)
            return x, sum_over_event(log_derivative).expand(y.shape[0])

    def _theta(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return θ [batch, n_params, *event] in the precision of the event x. The batch is 1 if θ is a parameter."""
        if self.theta is not None:
            return self.theta.unsqueeze(0)
        assert self.conditioner is not None
        return self.transformer.from_start(self.conditioner(self._required(context)).to(x.dtype))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        if self.conditioner is not None:
            self.conditioner.initialize(self._required(context))

    def _required(self, context: Tensor | None) -> Tensor:
        return required_context(context, "an elementwise layer with a conditioner computes its parameters")
