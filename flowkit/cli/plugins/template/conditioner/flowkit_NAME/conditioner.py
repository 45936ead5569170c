"""Defines the conditioner NAME/conditioner."""

import math

import torch
from flowkit.bijectors import Conditioner
from flowkit.plugin import Shape
from torch import Tensor, nn


class NameConditioner(Conditioner):
    """The network θ = V sin(W h + b) + c, where h is the kept part with the context behind it. V and c start at 0.

    References:
        Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions".
    """

    def __init__(
        self,
        kept_shape: Shape,
        params_shape: Shape,
        context_shape: Shape | None = None,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.params_shape = tuple(params_shape)
        inputs = math.prod(kept_shape) + (math.prod(context_shape) if context_shape else 0)
        self.first = nn.Linear(inputs, hidden)
        self.last = nn.Linear(hidden, math.prod(params_shape))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        h = kept if context is None else torch.cat([kept, context.flatten(1)], 1)
        return self.last(self.first(h).sin()).unflatten(1, self.params_shape)  # [batch, n_params, *transformed]
